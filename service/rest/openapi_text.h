/* SPDX-License-Identifier: Apache-2.0 */
/*
 * configs/openapi.json as it is served: made by the build.
 */
#ifndef BALLAST_SERVICE_OPENAPI_TEXT_H
#define BALLAST_SERVICE_OPENAPI_TEXT_H

#include <stddef.h>

extern const char openapi_text[];
extern const size_t openapi_text_size;

#endif
