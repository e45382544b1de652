/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libvirt's domain XML says about a guest's memory and its placement, as plain structs; and
 * the XML that asks libvirt to change it.
 *
 * The XML comes from libvirt, but its metadata, names and comments come from whoever defined the
 * guest: it is parsed without network, entities or external subsets, and with caps on size and
 * counts.
 */
#ifndef BALLAST_KVM_LIBVIRT_DOMAIN_XML_H
#define BALLAST_KVM_LIBVIRT_DOMAIN_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cleanup.h"
#include "name_table.h"

struct failure;

/* libvirt's own strings stop at 4 MiB in its RPC; a domain of 1000 disks has about 1 MiB. */
#define DOMAIN_XML_MAX_BYTES (4u << 20)
/* More than libvirt accepts of each; what exceeds it is refused, not cut. */
#define DOMAIN_XML_MAX_CELLS   128
#define DOMAIN_XML_MAX_DEVICES 256
#define DOMAIN_XML_MAX_PINS    8192
/* Sets of host nodes or CPUs stay text in the kernel's list format ("0,2-3"), checked for form. */
#define DOMAIN_XML_NODES_SIZE 512
#define DOMAIN_XML_CPUS_SIZE  1024
#define DOMAIN_XML_ALIAS_SIZE 64
#define DOMAIN_XML_UUID_SIZE  37

#define DOMAIN_XML_AGENT_CHANNEL "org.ballast.agent.0"
#define DOMAIN_XML_POLICY_URI	 "urn:ballast:memory:1"
#define DOMAIN_XML_POLICY_KEY	 "ballast" /* the prefix libvirt writes before the element */

enum domain_xml_source {
	DOMAIN_XML_SOURCE_ANONYMOUS,
	DOMAIN_XML_SOURCE_MEMFD,
	DOMAIN_XML_SOURCE_FILE,
	DOMAIN_XML_SOURCE_COUNT
};
NAME_TABLE_DECLARE(domain_xml_source);

enum domain_xml_mode {
	DOMAIN_XML_MODE_STRICT,
	DOMAIN_XML_MODE_PREFERRED,
	DOMAIN_XML_MODE_INTERLEAVE,
	DOMAIN_XML_MODE_RESTRICTIVE,
	DOMAIN_XML_MODE_COUNT
};
NAME_TABLE_DECLARE(domain_xml_mode);

enum domain_xml_model {
	DOMAIN_XML_MODEL_VIRTIO_MEM,
	DOMAIN_XML_MODEL_DIMM,
	DOMAIN_XML_MODEL_NVDIMM,
	DOMAIN_XML_MODEL_VIRTIO_PMEM,
	DOMAIN_XML_MODEL_SGX_EPC,
	DOMAIN_XML_MODEL_COUNT
};
NAME_TABLE_DECLARE(domain_xml_model);

enum domain_xml_channel_state {
	DOMAIN_XML_CHANNEL_UNKNOWN,   /* not in the XML: stored XML, or the guest is off */
	DOMAIN_XML_CHANNEL_CONNECTED, /* the guest has opened its port */
	DOMAIN_XML_CHANNEL_DISCONNECTED,
	DOMAIN_XML_CHANNEL_COUNT
};
NAME_TABLE_DECLARE(domain_xml_channel_state);

struct domain_xml_cell {
	unsigned id;
	uint64_t bytes;
	char cpus[DOMAIN_XML_CPUS_SIZE]; /* the guest's vCPUs; empty: none */
	bool shared;			 /* memAccess='shared' */
	bool has_nodes;			 /* numatune has a memnode for this cell */
	enum domain_xml_mode mode;	 /* meaningful with has_nodes */
	char nodes[DOMAIN_XML_NODES_SIZE];
	uint64_t hugepage_bytes; /* <page nodeset> names this cell; 0: no, or the default size */
};

struct domain_xml_device {
	enum domain_xml_model model;
	char alias[DOMAIN_XML_ALIAS_SIZE]; /* empty in stored XML, but for aliases that users chose
					    */
	bool has_cell;
	unsigned cell;
	uint64_t size_bytes; /* virtio-mem: the most it can give */
	uint64_t block_bytes, requested_bytes,
		current_bytes;			  /* virtio-mem only; current: live XML only */
	char source_nodes[DOMAIN_XML_NODES_SIZE]; /* empty: numatune decides */
	uint64_t page_bytes;			  /* 0: as memoryBacking says */
	bool has_address;
	uint64_t address; /* guest-physical start; libvirt 9.4 and newer show it */
};

struct domain_xml_pin {
	unsigned id;
	char cpus[DOMAIN_XML_CPUS_SIZE];
};

struct domain_xml_channel {
	char name[128]; /* the port's name in the guest */
	char alias[DOMAIN_XML_ALIAS_SIZE];
	char *path; /* owned; the host's unix socket, NULL where XML names none */
	enum domain_xml_channel_state state;
};

/* The guest's policy as its metadata has it. Every part may be absent. */
struct domain_xml_policy {
	bool has_minimum, has_maximum, has_priority, has_request_limit;
	uint64_t minimum_bytes, maximum_bytes;
	uint64_t request_limit_bytes;		   /* up to this the guest may ask for more itself */
	char online_policy[8];			   /* "leave", "movable": how it onlines what is plugged; empty: not said */
	bool has_zone_repair, zone_repair;	   /* "yes", "no": whether it repairs what is plugged */
	unsigned priority;			   /* 0 to 1000; the lowest is shrunk first */
	char allowed_nodes[DOMAIN_XML_NODES_SIZE]; /* empty: all */
};

enum domain_xml_policy_state {
	DOMAIN_XML_POLICY_ABSENT,
	DOMAIN_XML_POLICY_VALID,
	DOMAIN_XML_POLICY_INVALID, /* there is one, and policy_fault says what is wrong in it */
	DOMAIN_XML_POLICY_COUNT
};
NAME_TABLE_DECLARE(domain_xml_policy_state);

struct domain_xml {
	char uuid[DOMAIN_XML_UUID_SIZE];
	char *name;    /* owned */
	char type[16]; /* "kvm", "qemu", "test" */
	int id;	       /* -1: not running, or stored XML */

	uint64_t memory_bytes;	/* <memory>: base and the full size of every memory device */
	uint64_t base_bytes;	/* the cells' sum; without cells: <memory> less the devices */
	uint64_t current_bytes; /* <currentMemory>: what the balloon leaves */
	uint64_t maximum_bytes; /* <maxMemory>, 0: none, so no memory device can be added */
	unsigned slots;

	unsigned vcpu_maximum, vcpu_current;
	struct domain_xml_cell *cells; /* owned; ascending ids as in the XML */
	size_t cell_count;
	struct domain_xml_device *devices; /* owned; document order */
	size_t device_count;
	struct domain_xml_channel *channels; /* owned; virtio channels on unix sockets only */
	size_t channel_count;
	unsigned vsock_cid; /* its context id now; 0: no vsock device, or none given yet */

	struct {
		enum domain_xml_source source;
		bool hugepages;	     /* with any source */
		uint64_t page_bytes; /* of the first <page>; 0: the host's default size */
		bool shared, locked, no_sharing, preallocated, discard;
	} backing;

	struct {
		bool present;	 /* there is a <numatune> with a <memory> or a <memnode> */
		bool has_memory; /* <memory mode= nodeset=> */
		bool automatic;	 /* placement='auto': numad chose */
		enum domain_xml_mode mode;
		char nodes[DOMAIN_XML_NODES_SIZE];
		size_t memnode_count;
	} numatune;

	char vcpu_cpus[DOMAIN_XML_CPUS_SIZE]; /* <vcpu cpuset>: where every thread without a pin may run; empty: anywhere */
	unsigned *iothreads;		  /* owned; the ids of all, pinned or not */
	size_t iothread_count;
	struct domain_xml_pin *vcpu_pins; /* owned */
	size_t vcpu_pin_count;
	struct domain_xml_pin *iothread_pins; /* owned */
	size_t iothread_pin_count;
	char emulator_pin[DOMAIN_XML_CPUS_SIZE]; /* empty: none */

	bool has_balloon;
	bool free_page_reporting;
	bool has_virtio_serial; /* without one no channel can be added to a running guest */
	bool realtime;		/* a vCPU, the emulator or an I/O thread has a scheduler set */
	unsigned vfio_count;	/* <hostdev> and <interface type='hostdev'> that pin guest memory */
	unsigned vhost_user_count; /* other processes that map the guest's memory */
	char launch_security[16];  /* "sev", "sev-snp", "tdx", "s390-pv"; empty: none */

	enum domain_xml_policy_state policy_state;
	struct domain_xml_policy policy;
	char policy_fault[128];
};

/*
 * Parses size bytes of libvirt's XML, live or stored. *ret_domain is the caller's to give to
 * domain_xml_done(). Returns 0; -E2BIG beyond a cap; -EINVAL where it is no domain XML or a number
 * in it is none; -ENOMEM. failure may be NULL. A bad policy is not an error here: see policy_state.
 */
int domain_xml_parse(const char *text, size_t size, struct domain_xml *ret_domain,
		     struct failure *failure);
/* Frees what *domain owns and empties it. A zeroed struct is fine. */
void domain_xml_done(struct domain_xml *domain);

/* NULL where there is none. */
const struct domain_xml_cell *domain_xml_find_cell(const struct domain_xml *domain, unsigned id);
const struct domain_xml_device *domain_xml_find_device(const struct domain_xml *domain,
						       const char *alias);
const struct domain_xml_channel *domain_xml_find_channel(const struct domain_xml *domain,
							 const char *name);

/*
 * The <memory> element of the device with this alias out of live XML, with only <requested>
 * changed: what virDomainUpdateDeviceFlags takes. The same size again is a kick of the guest's
 * driver, because libvirt passes an unchanged <requested> on to QEMU (qemu_hotplug.c
 * qemuDomainChangeMemoryRequestedSize). *ret_xml is malloc'ed. Returns 0; -ENODEV without such a
 * virtio-mem device; -EINVAL for bad XML or a requested size that is no whole number of KiB;
 * -ENOMEM.
 */
int domain_xml_build_requested(const char *live_xml, const char *alias, uint64_t requested_bytes,
			       char **ret_xml);

/* The <channel> element that adds the agent's port of this name. Returns 0 or -ENOMEM. */
int domain_xml_build_channel(const char *port_name, char **ret_xml);

/* One nodeset of a stored placement: a memnode's by cell id, or a memory device's by its index. */
struct domain_xml_nodes {
	unsigned id;
	int cell; /* the guest's cell: a memnode's own, a device's; -1: none is told */
	char nodes[DOMAIN_XML_NODES_SIZE];
};

/*
 * The host nodes that a guest's XML names: read from stored XML, journalled, changed, and written
 * back. What is listed here comes, and what is not goes, also a whole numatune.
 */
struct domain_xml_placement {
	bool has_nodes; /* <numatune><memory nodeset> */
	char nodes[DOMAIN_XML_NODES_SIZE];
	struct domain_xml_nodes *cells; /* owned; <memnode> by cell id */
	size_t cell_count;
	struct domain_xml_nodes
		*devices; /* owned; <source><nodemask> by index among memory devices */
	size_t device_count;
};

/* What the parsed XML says. Returns 0 or -ENOMEM. */
int domain_xml_placement_read(const struct domain_xml *domain,
			      struct domain_xml_placement *ret_placement);
int domain_xml_placement_copy(const struct domain_xml_placement *placement,
			      struct domain_xml_placement *ret_copy);
void domain_xml_placement_done(struct domain_xml_placement *placement);
/*
 * The whole stored XML with these nodesets in place of its own. The nodeset of all the guest and
 * the memnodes are those of *placement and no others: a guest without a nodeset gets one in mode
 * preferred, a new memnode is bound in the mode of the numatune. Of all else what it does not name
 * stays. Returns 0; -ENOENT where it names a nodeset or a cell that the XML does not have, or numad
 * places the guest; -EINVAL for bad XML or a malformed set; -ENOMEM. *ret_xml is malloc'ed.
 */
int domain_xml_build_placement(const char *stored_xml, const struct domain_xml_placement *placement,
			       char **ret_xml);

/*
 * The policy element without its namespace, as virDomainGetMetadata gives it and
 * virDomainSetMetadata takes it: <policy minimum_bytes="1073741824" maximum_bytes="4GiB"
 * request_limit_bytes="3GiB" online_policy="movable" zone_repair="yes" priority="10" allowed_nodes="0-1"/>. Sizes may
 * carry units. Returns 0; -EINVAL with the fault in words (unknown attribute, minimum above maximum, ...); -ENOMEM.
 */
int domain_xml_policy_parse(const char *text, size_t size, struct domain_xml_policy *ret_policy,
			    struct failure *failure);
int domain_xml_policy_format(const struct domain_xml_policy *policy, char **ret_xml);

/* Whether text is a non-empty list like "0,2-3" with ascending ranges and numbers below limit. */
bool domain_xml_list_is_valid(const char *text, unsigned limit);

#endif
