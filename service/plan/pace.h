/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast a mover goes: the size of its calls, the silence between them, and what a budget allows. Pure: the caller
 * brings what was measured, and the time.
 */
#ifndef BALLAST_SERVICE_PACE_H
#define BALLAST_SERVICE_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* Sizes of calls that are tried, each twice the one before. */
#define PACE_SIZES 8

/* Of one thread, for pages of one size. The caller keeps it, zeroed to begin, and uses the first two. */
struct pace {
	uint64_t batch_bytes; /* of the next call: whole pages, at least one */
	uint32_t pause_us;    /* before it */
	/* Hill climbing. */
	unsigned at, best;	  /* the size in use, and the one that gave the most */
	double rates[PACE_SIZES]; /* bytes a us of each, 0: not known */
	uint64_t tried_bytes, tried_us;
	unsigned tried_calls;
	unsigned rest;	 /* trials before another size is tried */
	unsigned failed; /* neighbours tried in a row that were no better */
	bool downwards;
};

struct pace_input {
	uint64_t call_us;    /* duration of the last call; 0: none yet */
	uint64_t call_bytes; /* what it moved */
	bool is_other;	     /* it went beside more or fewer others than usual: it says nothing */
	uint64_t page_bytes;
	uint64_t bytes_per_s; /* budget; 0: none */
	unsigned ease;	      /* pace_ease.level */
};

/*
 * The next call's size: that which moves the most in its time, never longer than leaves a pause or a cancel heard within
 * a second, and no more than the budget lets go in a second. Each level of ease halves the size, as far as that helps,
 * and doubles the time of a call by a silence after it.
 */
struct pace pace_next(const struct pace *last, const struct pace_input *input);

/* Levels of ease: at the highest a mover works an eighth of the time. */
#define PACE_EASE_MAX 3

/* How much a guest's own word slows its mover down. Zeroed to begin. */
struct pace_ease {
	unsigned level;
	uint64_t changed_at_us;
	uint64_t worst_us; /* the longest pause that the guest told of */
	uint64_t slowed;   /* how often it was slowed down */
	/* Of this level: what was heard, and what the level below gave on average. */
	uint64_t heard_us, heard, before_us;
	bool is_of_few;		   /* that average is */
	uint64_t in_vain_until_us; /* slowing down did not help: not again until then */
	unsigned in_vain;	   /* how often it did not, as far as that is counted */
};

/*
 * guest_pause_us: the longest pause that the guest felt since it was last told, 0: nothing new is known. More than
 * stall_us (0: no budget) slows down at once, and further where that helped but not enough; it goes faster again step by
 * step, as long as nothing more is heard. Where a further step does not make the pauses shorter it is taken back, and none is
 * tried for a while: that far the mover is not what makes them.
 */
struct pace_ease pace_ease_next(const struct pace_ease *last, uint32_t stall_us, uint64_t guest_pause_us,
				uint64_t now_us);

/* What part of its usual calls a thread does at first where one more is tried. */
#define PACE_FIRST_PART 4

/* How many of a mover's threads are in the kernel at once. Zeroed to begin, but for `most`. */
struct pace_crew {
	unsigned most;	  /* threads that there are */
	unsigned allowed; /* at once, from now on; 0: not begun, one */
	unsigned best;
	double best_rate; /* bytes a us of all together, in its last trial; 0: not known */
	double vain_rate; /* of the best number, when one more was no gain; 0: it has not been so */
	/* Of the trial under way. */
	uint64_t began_us, bytes;
	unsigned calls;
	unsigned stale;	 /* calls that are still on their way from before it */
	bool is_first;	 /* it is at its first calls, of PACE_FIRST_PART each */
	unsigned rest;	 /* trials before another number is tried */
	unsigned failed; /* trials of other numbers in a row that were no better */
	bool upwards;
};

/*
 * After each call of any of them: now_us, and the bytes that it moved. One begins; one more is tried, and one less, the
 * more rarely the more often in vain. A further one stays only where all together are clearly faster for it: else it would
 * only be in the guest's way. Pages that a guest uses and others lie in stretches, and among the former a second thread may
 * cost more than half of the rate: so one less is tried as soon as the rate falls, and one more as soon as it rises, and
 * that begins with short calls: no call can be interrupted, and among such pages one may take many times as long as usual.
 */
struct pace_crew pace_crew_next(const struct pace_crew *last, uint64_t now_us, uint64_t moved_bytes);
/* What was begun says nothing: there was a pause in it, or another number of them for another reason. */
void pace_crew_forget(struct pace_crew *crew);
/* From now on so many threads may be in the kernel at most, whatever pays. */
void pace_crew_limit(struct pace_crew *crew, unsigned most);

/* How much the processors of a guest have run until a time. */
struct pace_load {
	uint64_t at_us, used_us; /* used_us: of all together, since they began */
	unsigned processors;	 /* 0: not known */
};

/*
 * Whether the guest computes, with half of its processors or more. Then one thread moves it: each of its pages that is in
 * use is taken out of KVM's tables under one lock, so that two are hardly faster, and the guest's own faults wait for both.
 * Unknown is false.
 */
bool pace_is_computing(const struct pace_load *before, const struct pace_load *now);

/*
 * A budget of bytes a second that several may share: books so many bytes and returns how long to wait before they go.
 * *paid_until_us is the budget's whole memory, zeroed to begin. What was not used up is not saved: no bursts.
 */
uint64_t pace_budget_take(uint64_t *paid_until_us, uint64_t now_us, uint64_t bytes, uint64_t bytes_per_s);
/* Of what was booked so many bytes did not go. */
void pace_budget_return(uint64_t *paid_until_us, uint64_t bytes, uint64_t bytes_per_s);

#endif
