/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model objects as JSON: one spelling for the API, the journal and the workers. snake_case keys, integers in bytes,
 * times as RFC 3339 in UTC with milliseconds, enums by their names.
 *
 * The to-functions return a new reference, or NULL where memory is short. The from-functions are strict (unknown keys,
 * wrong types, numbers out of range are refused) and return 0, -ENOMEM, or -EINVAL with *failure naming the key.
 */
#ifndef BALLAST_SERVICE_MODEL_JSON_H
#define BALLAST_SERVICE_MODEL_JSON_H

#include <jansson.h>
#include "failure.h"
#include "operation_record.h"
#include "snapshot.h"
#include "step.h"
#include "wish.h"

/*
 * From now on the process ends, with a line on standard error, where jansson gets no memory. jansson 2.14 reads on where
 * the buffer of a string cannot grow and gives a text that lacks bytes (load.c does not look at strbuffer_append_byte()'s
 * answer): a path or a list of pages that is not what was written. A worker that ends is noticed by its daemon, and a
 * daemon that ends takes up its journal at the next start; neither may act upon half a text. First thing in main().
 */
void model_json_end_without_memory(void);

/* Bytes that are no UTF-8 (a cut text, a path, a name of a guest's) become ?: jansson refuses them. NULL without memory. */
json_t *model_json_text(const char *text);
json_t *model_json_time(uint64_t wall_ms);			/* JSON null for 0 */
json_t *model_json_nodes(uint64_t mask);			/* [0,2] */
json_t *model_json_remainder(const struct remainder *remainder);
json_t *model_json_remainders(const struct remainder_list *list);
int model_json_remainders_parse(const json_t *json, struct remainder_list *ret_list, struct failure *failure);

/* Complete and lossless: for the journal and for workers. */
json_t *model_json_wish(const struct wish *wish);
int model_json_wish_parse(const json_t *json, struct wish *ret_wish, struct failure *failure);
json_t *model_json_step(const struct step *step);
int model_json_step_parse(const json_t *json, struct step *ret_step, struct failure *failure);

/* As the API shows them (see the design of /v1 in docs/ARCHITECTURE.md). */
json_t *model_json_step_record(const struct step_record *record);
/* The longest pause that the guest felt during the step, by its own word; 0: it told none. */
uint64_t model_json_step_felt_us(const struct step_record *record);
/* What the guests said that they felt, in all steps together: {longest_pause_us, p99_us, samples}. NULL: none told. */
json_t *model_json_felt(const struct operation_record *record);
json_t *model_json_operation(const struct operation_record *record);
json_t *model_json_drain(const struct drain_record *drain, const struct operation_record *operation);
json_t *model_json_node(const struct snapshot *snapshot, const struct snapshot_node *node);
json_t *model_json_dimm(const struct snapshot *snapshot, const struct snapshot_dimm *dimm);
json_t *model_json_hint(const struct snapshot_hint *hint);
/* The last hint of the DIMM, or of the node's memory that is in none, with how often and how bad all were; null: none. */
json_t *model_json_dimm_hint(const struct snapshot *snapshot, const struct snapshot_dimm *dimm);
json_t *model_json_node_hint(const struct snapshot *snapshot, int node);
/* The memory controllers, for the host: errors are theirs also where no DIMM is known for them. */
json_t *model_json_controllers(const struct snapshot *snapshot);
/* "reboot_s", null where it is not known, and "reboot_configured". */
void model_json_add_reboot(json_t *object, const struct snapshot_reboot *reboot);
/* device: the alias of the memory device that it belongs to, "": not known. */
json_t *model_json_guest_block(const struct snapshot_guest_block *block, const char *device);
json_t *model_json_block(const struct snapshot_block *block);
json_t *model_json_guest(const struct snapshot *snapshot, const struct snapshot_guest *guest);
json_t *model_json_guest_memory(const struct snapshot_guest *guest);
json_t *model_json_guest_placement(const struct snapshot_guest *guest);

#endif
