/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls into libvirt that the connection makes, one function each, so that a test can play
 * libvirt. Only libvirt_ops.c includes libvirt's headers. Every function but ref and unref may
 * block for long.
 */
#ifndef BALLAST_KVM_LIBVIRT_LIBVIRT_OPS_H
#define BALLAST_KVM_LIBVIRT_LIBVIRT_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct connection_domain;
struct connection_event;

/* virGetLastError() copied in the thread of the call, because libvirt keeps it per thread. */
struct libvirt_error {
	int code;	   /* virErrorNumber; 0: not libvirt's */
	int domain;	   /* virErrorDomain */
	bool no_domain;	   /* VIR_ERR_NO_DOMAIN: the guest is not there (any more) */
	bool is_transport; /* the daemon or the line to it failed, not the request */
	char text[256];
};

/*
 * Where a link reports to, from libvirt's event thread. The functions only queue: libvirt must not
 * be called from its callbacks. acquire and release count who holds userdata, because libvirt frees
 * callback data at a time of its own choosing.
 */
struct libvirt_sink {
	void (*event)(void *userdata, const struct connection_event *event);
	void (*closed)(void *userdata, const char *reason);
	void (*acquire)(void *userdata);
	void (*release)(void *userdata);
	void *userdata;
};

enum libvirt_pin {
	LIBVIRT_PIN_VCPU,
	LIBVIRT_PIN_EMULATOR,
	LIBVIRT_PIN_IOTHREAD,
};

/* What a change applies to: the running guest, its stored XML, or both. */
#define LIBVIRT_LIVE   1u
#define LIBVIRT_STORED 2u

/* All return 0 or -errno with *error filled; -EREMOTEIO stands for a refusal by libvirt. */
struct libvirt_ops {
	/* Starts libvirt's event loop, which belongs to the process and ends with it. May be called
	 * again. */
	int (*start)(struct libvirt_error *error);
	/* Connects and subscribes. A link counts its holders and starts with one. */
	int (*open)(const char *uri, const struct libvirt_sink *sink, void **ret_link,
		    struct libvirt_error *error);
	void (*ref)(void *link);
	void (*unref)(void *link);
	/* Unsubscribes. Events that are under way may still arrive. Does not drop the holder's
	 * count. */
	void (*close)(void *link);
	bool (*is_alive)(void *link);

	/* uuid, name, id, state, persistent of every guest; *ret_domains is an array on the heap.
	 */
	int (*list)(void *link, struct connection_domain **ret_domains, size_t *ret_count,
		    struct libvirt_error *error);
	/* All but pid. */
	int (*get)(void *link, const char *uuid, struct connection_domain *ret_domain,
		   struct libvirt_error *error);
	int (*update_device)(void *link, const char *uuid, const char *xml, unsigned flags,
			     struct libvirt_error *error);
	int (*attach_device)(void *link, const char *uuid, const char *xml, unsigned flags,
			     struct libvirt_error *error);
	int (*set_memory)(void *link, const char *uuid, uint64_t bytes, unsigned flags,
			  struct libvirt_error *error);
	int (*set_numa)(void *link, const char *uuid, const char *nodes, unsigned flags,
			struct libvirt_error *error);
	int (*pin)(void *link, const char *uuid, enum libvirt_pin what, unsigned id,
		   const char *cpus, unsigned flags, struct libvirt_error *error);
	/* *ret_xml is NULL where the guest has none. */
	int (*get_metadata)(void *link, const char *uuid, unsigned flags, char **ret_xml,
			    struct libvirt_error *error);
	/* xml NULL takes it away. */
	int (*set_metadata)(void *link, const char *uuid, const char *xml, unsigned flags,
			    struct libvirt_error *error);
	/*
	 * The live or the stored XML. The stored one comes with its secrets (passwords of
	 * displays), because defining it without them would lose them: it goes into define() and
	 * nowhere else.
	 */
	int (*get_xml)(void *link, const char *uuid, unsigned flags, char **ret_xml,
		       struct libvirt_error *error);
	int (*define)(void *link, const char *xml, struct libvirt_error *error);
};

extern const struct libvirt_ops libvirt_ops_real;

#endif
