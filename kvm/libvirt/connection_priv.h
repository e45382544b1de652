/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call as a thread of the pool carries it out, apart from queues and threads.
 */
#ifndef BALLAST_KVM_LIBVIRT_CONNECTION_PRIV_H
#define BALLAST_KVM_LIBVIRT_CONNECTION_PRIV_H

#include "connection.h"
#include "domain_xml.h"
#include "failure.h"

struct libvirt_error;

/* A submitted call with everything it points to. */
struct connection_request {
	struct connection_call call;	       /* its strings point into this struct's own */
	char uuid[DOMAIN_XML_UUID_SIZE];       /* empty: no guest */
	char *text;			       /* owned; whichever string the kind has */
	struct domain_xml_placement placement; /* owned */
};

struct connection_answer {
	enum connection_outcome outcome;
	struct failure failure;
	int libvirt_code;
	bool is_transport;		   /* the line to libvirt is suspect */
	struct connection_domain *domains; /* owned */
	size_t domain_count;
	char *text; /* owned */
};

/* -EINVAL for a call without what its kind needs; -ENOMEM. */
int connection_request_init(struct connection_request *request, const struct connection_call *call);
void connection_request_done(struct connection_request *request);

/* Blocks. *ret_answer is filled whatever happens. */
void connection_request_run(const struct connection_request *request, const struct libvirt_ops *ops,
			    void *link, const struct sysroot *sysroot,
			    struct connection_answer *ret_answer);
void connection_answer_done(struct connection_answer *answer);

/* The failure of a call that did not run, or not to its end. */
void connection_request_fail(const struct connection_request *request, struct failure *failure,
			     int error, const char *code, const char *cause);

#endif
