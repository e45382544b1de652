/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STEP_KIND_PROOF: moves the memory of a running microVM between nodes and lets it say whether it noticed.
 */
#ifndef BALLAST_SERVICE_PROOF_JOB_H
#define BALLAST_SERVICE_PROOF_JOB_H

struct job_context;

/*
 * The step's text names the backing (anon, memfd, thp, hugetlb), page_bytes its page size, bytes how much of it. Every
 * ordered pair of its nodes is proved; of more than eight nodes only neighbours. Values:
 *
 *   backing page_bytes memory_bytes rounds quiet_pause_us longest_pause_us
 *   pairs [{from to moved_bytes left_bytes bytes_per_s longest_pause_us}]
 *   torn_words		words that were not as the guest had written them
 *   left_out_pairs, left_out_nodes	for which there were too many nodes; that have memory but no room
 *   split_bytes		of transparent huge pages, not huge any more at the end
 *   skipped		why nothing was proved, in place of the others: this host has no such pages
 *
 * FAILED with the reason where KVM cannot run here or a word was wrong. Nothing of it outlives the process.
 */
void proof_job_run(struct job_context *context);

#endif
