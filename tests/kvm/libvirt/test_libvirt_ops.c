/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls as libvirt takes them, against the driver for tests that lies in libvirt's own library:
 * no daemon, one running guest called "test".
 */
#include "libvirt_ops.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include "connection.h"
#include "unit.h"

static struct {
	struct connection *connection;
	unsigned told;
	char uuid[DOMAIN_XML_UUID_SIZE];
	enum connection_outcome outcome;
	int libvirt_code;
	char text[256], cause[256];
	struct domain_xml domain;
	size_t domains;
	bool stored, metadata_changed;
} loop;

static void on_event(void *userdata, const struct connection_event *event)
{
	loop.told++;
	if (event->kind == CONNECTION_EVENT_METADATA_CHANGED) {
		loop.metadata_changed = true;
		CHECK_STR(event->uuid, loop.uuid);
		CHECK_STR(event->name, "test");
	}
}

static void on_done(void *userdata, const struct connection_result *result)
{
	loop.told++;
	loop.outcome = result->outcome;
	loop.libvirt_code = result->libvirt_code;
	loop.domains = result->domain_count;
	snprintf(loop.text, sizeof(loop.text), "%s", result->text ? result->text : "");
	snprintf(loop.cause, sizeof(loop.cause), "%s", result->failure.cause);
	if (result->domain_count) {
		const struct connection_domain *domain = &result->domains[0];

		memcpy(loop.uuid, domain->uuid, sizeof(loop.uuid));
		CHECK_STR(domain->name, "test");
		CHECK_INT(domain->state, CONNECTION_DOMAIN_RUNNING);
		CHECK_INT(domain->id, 1);
		loop.stored = domain->stored_xml != NULL;
		domain_xml_done(&loop.domain);
		if (domain->live_xml)
			CHECK_INT(domain_xml_parse(domain->live_xml, strlen(domain->live_xml),
						   &loop.domain, NULL),
				  0);
	}
	*(bool *)userdata = true;
}

static void step(void)
{
	struct pollfd entry = {.fd = connection_fd(loop.connection), .events = POLLIN};

	assert(poll(&entry, 1, 20000) == 1);
	connection_dispatch(loop.connection);
}

static void run(struct connection_call call)
{
	bool done = false;

	if (call.kind != CONNECTION_CALL_LIST_DOMAINS && !call.uuid)
		call.uuid = loop.uuid;
	call.on_done = on_done;
	call.userdata = &done;
	CHECK_INT(connection_submit(loop.connection, &call, NULL), 0);
	while (!done)
		step();
}

static void test_test_driver(void)
{
	struct connection_options options = {
		.uri = "test:///default", .threads = 2, .on_event = on_event};

	assert(connection_new(&options, &loop.connection, NULL) == 0);
	while (!loop.told)
		step();
	CHECK_INT(connection_get_state(loop.connection, NULL), CONNECTION_STATE_UP);

	run((struct connection_call){.kind = CONNECTION_CALL_LIST_DOMAINS});
	CHECK_INT(loop.domains, 1);
	run((struct connection_call){.kind = CONNECTION_CALL_GET_DOMAIN});
	CHECK_INT(loop.outcome, CONNECTION_DONE);
	CHECK_TRUE(loop.stored);
	CHECK_STR(loop.domain.type, "test");
	CHECK_INT(loop.domain.base_bytes, UINT64_C(8) << 30);
	CHECK_INT(loop.domain.policy_state, DOMAIN_XML_POLICY_ABSENT);

	run((struct connection_call){.kind = CONNECTION_CALL_GET_METADATA});
	CHECK_INT(loop.outcome, CONNECTION_DONE);
	CHECK_STR(loop.text, "");
	run((struct connection_call){.kind = CONNECTION_CALL_SET_METADATA,
				     .metadata = "<policy priority='7'/>"});
	CHECK_INT(loop.outcome, CONNECTION_DONE);
	run((struct connection_call){.kind = CONNECTION_CALL_GET_DOMAIN});
	CHECK_INT(loop.domain.policy_state, DOMAIN_XML_POLICY_VALID);
	CHECK_INT(loop.domain.policy.priority, 7);
	run((struct connection_call){.kind = CONNECTION_CALL_GET_METADATA});
	CHECK_TRUE(strstr(loop.text, "priority=\"7\"") != NULL);
	while (!loop.metadata_changed)
		step();
	run((struct connection_call){.kind = CONNECTION_CALL_SET_METADATA});
	run((struct connection_call){.kind = CONNECTION_CALL_GET_METADATA});
	CHECK_STR(loop.text, "");

	run((struct connection_call){.kind = CONNECTION_CALL_SET_BALLOON,
				     .balloon_bytes = UINT64_C(1) << 30});
	CHECK_INT(loop.outcome, CONNECTION_DONE);
	run((struct connection_call){.kind = CONNECTION_CALL_GET_DOMAIN});
	CHECK_INT(loop.domain.current_bytes, UINT64_C(1) << 30);
	run((struct connection_call){.kind = CONNECTION_CALL_PIN_EMULATOR, .pin = {.cpus = "0-1"}});
	CHECK_INT(loop.outcome, CONNECTION_DONE);

	/* What it refuses comes with its own words, and the line stays up. */
	run((struct connection_call){.kind = CONNECTION_CALL_SET_BALLOON,
				     .balloon_bytes = UINT64_C(1) << 40});
	CHECK_INT(loop.outcome, CONNECTION_REFUSED);
	CHECK_TRUE(loop.libvirt_code != 0);
	CHECK_TRUE(loop.cause[0] != '\0');
	run((struct connection_call){.kind = CONNECTION_CALL_SET_NUMA, .nodes = "0"});
	CHECK_INT(loop.outcome, CONNECTION_REFUSED);
	run((struct connection_call){.kind = CONNECTION_CALL_GET_DOMAIN,
				     .uuid = "00000000-1111-2222-3333-444444444444"});
	CHECK_INT(loop.outcome, CONNECTION_NO_DOMAIN);
	CHECK_INT(connection_get_state(loop.connection, NULL), CONNECTION_STATE_UP);
	domain_xml_done(&loop.domain);
	loop.connection = connection_free(loop.connection);
}

static void test_no_libvirt(void)
{
	struct connection_options options = {
		.uri = "qemu+unix:///system?socket=/nonexistent/socket",
		.threads = 1,
		.on_event = on_event};
	const char *reason;

	memset(&loop, 0, sizeof(loop));
	assert(connection_new(&options, &loop.connection, NULL) == 0);
	while (!loop.told)
		step();
	CHECK_INT(connection_get_state(loop.connection, &reason), CONNECTION_STATE_DOWN);
	CHECK_TRUE(strstr(reason, "/nonexistent/socket") != NULL);
	loop.connection = connection_free(loop.connection);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"test_driver", test_test_driver},
		{"no_libvirt", test_no_libvirt},
	};

	return unit_main("libvirt_ops", cases, sizeof(cases) / sizeof(cases[0]));
}
