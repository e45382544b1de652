/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the model's JSON writers share: building an object key by key without a check after each.
 */
#ifndef BALLAST_SERVICE_MODEL_JSON_PRIV_H
#define BALLAST_SERVICE_MODEL_JSON_PRIV_H

#include <jansson.h>
#include <stdint.h>

/*
 * Takes value over. Where value is NULL or memory is short *object is released and becomes NULL,
 * and later puts do nothing: the caller looks once, at the end.
 */
void model_json_put(json_t **object, const char *key, json_t *value);
void model_json_append(json_t **array, json_t *value);

/* JSON integers end at 2^63-1: what a guest claims beyond that is shown as that. */
json_t *model_json_u64(uint64_t value);
/* JSON null for an empty text. */
json_t *model_json_text_or_null(const char *text);

#endif
