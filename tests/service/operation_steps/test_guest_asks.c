/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that asks for more memory, of 512 MiB of base and a device of 1 GiB with 256 MiB plugged.
 */
#include "guest_asks.h"

#include <stdio.h>
#include <string.h>
#include "guest_rig.h"
#include "unit.h"

#define MIB	 (UINT64_C(1) << 20)
#define PAUSE_MS 30000

static struct {
	struct guest_rig host;
	struct guest_asks *asks;
	bool is_busy;
	unsigned submits, answers;
	struct wish wish;
	struct message_answer_wish answer;
} rig;

static bool is_busy(void *user, const char *guest)
{
	CHECK_STR(guest, FAKE_LIBVIRT_G1);
	return rig.is_busy;
}

static void submit(void *user, const struct wish *wish)
{
	rig.submits++;
	rig.wish = *wish;
}

static void on_change(void *user, enum look_change change, const char *guest)
{
	if (rig.asks && guest[0])
		guest_asks_check(rig.asks, guest);
}

static void on_request(void *user, struct fake_agent *agent, uint64_t epoch, uint32_t id, const struct message *message)
{
	static struct message reply;

	memset(&reply, 0, sizeof(reply));
	reply.type = MESSAGE_REPORT_REPLY;
	if (message->type == MESSAGE_REPORT) {
		fake_agent_reply(agent, epoch, id, &reply);
		return;
	}
	CHECK_INT(message->type, MESSAGE_ANSWER_WISH);
	rig.answers++;
	rig.answer = message->answer_wish;
	fake_agent_reply_result(agent, epoch, id, MESSAGE_RESULT_OK, "");
}

static void start(const char *policy, bool observe)
{
	memset(&rig, 0, sizeof(rig));
	guest_rig_start(&rig.host, on_request, on_change);
	rig.asks = guest_asks_new(&(struct guest_asks_options){.base = rig.host.base,
							       .look = rig.host.look,
							       .pause_ms = PAUSE_MS,
							       .observe = observe,
							       .is_busy = is_busy,
							       .submit = submit});
	fake_libvirt_lock();
	snprintf(rig.host.domain->policy, sizeof(rig.host.domain->policy), "%s", policy);
	fake_libvirt_unlock();
	fake_libvirt_emit(CONNECTION_EVENT_RESUMED, FAKE_LIBVIRT_G1, 0);
	guest_rig_let_pass(&rig.host);
	CHECK_INT(guest_rig_guest(&rig.host)->current_bytes, 768 * MIB);
}

static void finish(void)
{
	rig.asks = guest_asks_free(rig.asks);
	guest_rig_finish(&rig.host);
}

static void ask(uint64_t mib)
{
	fake_agent_ask(rig.host.agent, mib * MIB);
	guest_rig_let_pass(&rig.host);
}

static void wait_answers(unsigned answers)
{
	while (rig.answers < answers)
		guest_rig_turn(&rig.host);
}

static void test_granted(void)
{
	start("request_limit_bytes=\"1GiB\"", false);
	ask(0);
	CHECK_INT(rig.submits, 0);
	/* As far as its policy goes, in whole blocks of its device. */
	ask(901);
	CHECK_INT(rig.submits, 1);
	CHECK_STR(rig.wish.guest, FAKE_LIBVIRT_G1);
	CHECK_INT(rig.wish.kind, OPERATION_KIND_RESIZE);
	CHECK_INT(rig.wish.resize.target_bytes, 900 * MIB);
	CHECK_INT(rig.answers, 0);
	/* Not asked twice while it is being decided. */
	ask(901);
	CHECK_INT(rig.submits, 1);
	guest_asks_decided(rig.asks, FAKE_LIBVIRT_G1, NULL);
	wait_answers(1);
	CHECK_INT(rig.answer.code, MESSAGE_RESULT_OK);
	CHECK_INT(rig.answer.wanted_bytes, 901 * MIB);
	CHECK_STR(rig.answer.text, "it is given 900 MiB in all");
	/* Who asks again is heard after the pause. */
	ask(4096);
	CHECK_INT(rig.submits, 1);
	guest_rig_pass(&rig.host, PAUSE_MS);
	ask(4096);
	while (rig.submits < 2)
		guest_rig_turn(&rig.host);
	CHECK_INT(rig.wish.resize.target_bytes, 1024 * MIB);
	/* Its limit may rise. */
	guest_asks_decided(rig.asks, FAKE_LIBVIRT_G1, NULL);
	wait_answers(2);
	CHECK_INT(rig.answer.code, MESSAGE_RESULT_PARTIAL);
	CHECK_STR(rig.answer.text, "it is given 1 GiB in all");
	finish();
}

static void test_refused(void)
{
	struct failure failure;

	/* Whose policy says nothing may not ask. */
	start("maximum_bytes=\"1GiB\"", false);
	ask(900);
	wait_answers(1);
	CHECK_INT(rig.submits, 0);
	CHECK_INT(rig.answer.code, MESSAGE_RESULT_VETOED);
	CHECK_STR(rig.answer.text, "its policy lets it ask for nothing");
	finish();

	start("request_limit_bytes=\"768MiB\"", false);
	ask(900);
	wait_answers(1);
	CHECK_STR(rig.answer.text, "its policy lets it ask for 768 MiB, which it has");
	finish();

	start("request_limit_bytes=\"1GiB\"", true);
	ask(900);
	wait_answers(1);
	CHECK_INT(rig.submits, 0);
	CHECK_STR(rig.answer.text, "the host only observes");
	finish();

	/* What a resize would be refused for. */
	start("request_limit_bytes=\"1GiB\"", false);
	ask(900);
	CHECK_INT(rig.submits, 1);
	failure_set(&failure, EPERM, "guest g1", "cannot resize");
	failure_set_cause(&failure, "no room\xe2\x80\xa6");
	guest_asks_decided(rig.asks, FAKE_LIBVIRT_G1, &failure);
	wait_answers(1);
	CHECK_INT(rig.answer.code, MESSAGE_RESULT_VETOED);
	CHECK_STR(rig.answer.text, "guest g1: cannot resize: no room???");
	finish();
}

static void test_it_has_as_much(void)
{
	start("", false);
	ask(768);
	wait_answers(1);
	CHECK_INT(rig.submits, 0);
	CHECK_INT(rig.answer.code, MESSAGE_RESULT_OK);
	finish();
}

/* Somebody works on it, or its size is on its way: it is heard afterwards. */
static void test_later(void)
{
	start("request_limit_bytes=\"1GiB\"", false);
	rig.is_busy = true;
	ask(900);
	guest_rig_pass(&rig.host, PAUSE_MS);
	CHECK_INT(rig.submits, 0);
	CHECK_INT(rig.answers, 0);
	rig.is_busy = false;
	fake_libvirt_lock();
	rig.host.domain->requested_mib = 384;
	fake_libvirt_unlock();
	fake_libvirt_emit(CONNECTION_EVENT_RESUMED, FAKE_LIBVIRT_G1, 0);
	guest_rig_let_pass(&rig.host);
	CHECK_INT(rig.submits, 0);
	fake_libvirt_lock();
	rig.host.domain->requested_mib = 256;
	fake_libvirt_unlock();
	fake_libvirt_emit(CONNECTION_EVENT_RESUMED, FAKE_LIBVIRT_G1, 0);
	while (rig.submits < 1)
		guest_rig_turn(&rig.host);
	finish();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"more is granted", test_granted},
		{"more is refused", test_refused},
		{"it has as much", test_it_has_as_much},
		{"later", test_later},
	};

	return unit_main("service/operation/guest_asks", cases, sizeof(cases) / sizeof(cases[0]));
}
