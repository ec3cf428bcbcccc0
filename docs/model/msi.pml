/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The MSI protocol of src/coherence/msi.h for one page, for SPIN.
 *
 * States and messages have the names used there. check.sh runs every
 * configuration and every mutant; README.md says what is modelled and what is
 * not. The map:
 *
 *   Thread (one or two per rank)   reads and writes the page for ever; on a
 *        | state[r], right[r]      fault it moves the state word and sends the
 *        v                         request
 *   Service (one per rank)         obeys acks, invalidate and downgrade; copies
 *        | up[r]   ^ down[r]       pages, moves rights, answers; with EVICT, ages
 *        v         |               and evicts its copy whenever it likes
 *   Directory (one per link)       the home's service thread, split by sender:
 *                                  each takes one message and handles it in one
 *                                  atomic step, as the one thread does
 *
 * Page values. All that is ever asked of a value is whether it is the last one
 * written. So no numbers are kept: `current` is the set of cells (a domain's
 * memory, or a copy half way) whose value is the last one. A write leaves only
 * the writer's cell in the set, a copy carries membership along. This is exact,
 * with no bound on the number of writes. A write is an increment: it must find
 * the last value, or an update is lost.
 */

/*
 * Two kinds of checks. assert() guards what a program would notice: wrong values,
 * two writing domains. expect() guards the protocol's own bookkeeping; BARE
 * drops it, so that a mutant shows that the first kind bites by itself.
 */
#ifdef BARE
#define expect(x) skip
#define ROOM 4                  /* a mutant may have more messages under way */
#else
#define expect(x) assert(x)
#define ROOM 2
#endif

/* ---- Configurations: ranks, their domains, their threads. Rank 0 is home. */

#if defined(THREE)              /* three domains of one rank */
#define NR 3
#define ND 3
#define DOM(r) (r)
#define NT 3
#define RANK(t) (t)
#elif defined(HOME_PAIR)        /* two ranks share the home's domain */
#define NR 3
#define ND 2
#define DOM(r) ((r) / 2)
#define NT 3
#define RANK(t) (t)
#elif defined(REMOTE_PAIR)      /* two ranks share the other domain */
#define NR 3
#define ND 2
#define DOM(r) (((r) + 1) / 2)
#define NT 3
#define RANK(t) (t)
#elif defined(HOME_THREADS)     /* three domains; two threads in the home's rank */
#define NR 3
#define ND 3
#define DOM(r) (r)
#define NT 4
#define RANK(t) ((t) / 2 + (t) / 3)
#elif defined(REMOTE_THREADS)   /* three domains; two threads in a remote rank */
#define NR 3
#define ND 3
#define DOM(r) (r)
#define NT 4
#define RANK(t) (((t) + 1) / 2)
#elif defined(PAIR_THREADS)     /* two remote ranks in one domain, one with two threads */
#define NR 3
#define ND 2
#define DOM(r) (((r) + 1) / 2)
#define NT 4
#define RANK(t) (((t) + 1) / 2)
#elif defined(PAIRS)            /* two domains of two ranks */
#define NR 4
#define ND 2
#define DOM(r) ((r) / 2)
#define NT 4
#define RANK(t) (t)
#elif defined(IDLE_HOME)        /* the home never asks; three other domains do */
#define NR 4
#define ND 4
#define DOM(r) (r)
#define NT 3
#define RANK(t) ((t) + 1)
#else
#error "name a configuration: -DTHREE, -DREMOTE_PAIR, ..."
#endif

#define HOME 0                          /* the home's rank, and its domain */
#define NONE 255

#define BIT(i)      (1 << (i))
#define ALL_RANKS   (BIT(NR) - 1)
/* The ranks of domain d. */
#define RANKS(d)    ((DOM(0) == (d)) | ((DOM(1) == (d)) << 1) | \
                     ((DOM(2) == (d)) << 2) | ((NR > 3 && DOM(3) == (d)) << 3))

mtype = { Invalid, Shared, Modified, IS, IM, SM, MI };
mtype = { req_share, req_exclusive, ack_share, ack_exclusive, invalidate,
          ack_invalidate, downgrade, write_back, done, req_evict, ack_evict };

/* A right is what the kernel lets a rank do, apart from its state word. */
#define NO    0
#define READ  1
#define WRITE 2

mtype state[NR] = Invalid;
byte right[NR];

/*
 * EVICT: ranks of other domains than the home's give copies up. `aged` and
 * `revive` are flags of the state word, `kept` says that the rank counts a copy.
 * Where it is not defined the flags are constants.
 */
#ifdef EVICT
bit aged[NR];                   /* the right was taken to see whether it is used */
bit revive[NR];                 /* a thread wants it back */
bit kept[NR];                   /* there is a copy to be evicted */
#define AGED(r)   aged[r]
#define KEEP_COPY(r)  kept[r] = (DOM(r) != HOME)
#define FORGET_AGE(r) aged[r] = 0; revive[r] = 0
#else
#define AGED(r)   0
#define KEEP_COPY(r)  skip
#define FORGET_AGE(r) skip
#endif

#define DATA 1                  /* the receiver copies the page */
#define LAST 2                  /* and discards its domain's copy */

/*
 * Messages between two ranks arrive in order. Their flags are DATA and LAST. With
 * UNORDERED, a request and an answer may overtake each other on the way up, and
 * at most one message at a time is on the way down: no order is left to rely on.
 */
#ifndef UNORDERED
chan down[NR] = [ROOM] of { mtype, byte };
chan up[NR]   = [ROOM] of { mtype };
#define ASK(r) up[r]
#define RECEIVE(r, m) up[r]?m
#else
chan down[NR] = [1] of { mtype, byte };
chan up[NR]   = [1] of { mtype };
chan asked[NR] = [1] of { mtype };
#define ASK(r) asked[r]
#define RECEIVE(r, m) if :: up[r]?m :: asked[r]?m fi
#endif

/* No send ever waits: a full channel is an error. Callers are atomic. */
inline send_request(r, m)   { assert(nfull(ASK(r))); ASK(r)!m }
inline send_answer(r, m)    { assert(nfull(up[r])); up[r]!m }
inline send_down(r, m, d)   { assert(nfull(down[r])); down[r]!m, d }

/* ---- Page values ----------------------------------------------------- */

#define MEM(d)  (d)                     /* cell: the memory of domain d */
#define BUF(r)  (ND + (r))              /* cell: a copy by rank r, half way */

byte current = BIT(MEM(HOME));

inline copy_cell(to, from)
{
	if
	:: current & BIT(from) -> current = current | BIT(to)
	:: else -> current = current & ~BIT(to)
	fi
}

/* A copy takes time: what is written meanwhile is not in it. */
inline copy_page(r, to, from)
{
	atomic { copy_cell(BUF(r), from) }
	atomic { copy_cell(to, BUF(r)); current = current & ~BIT(BUF(r)) }
}

/* ---- Invariants ------------------------------------------------------ */

#define APART(a, b)     (DOM(a) != DOM(b))
#define MAY(r, w)       (right[r] >= (w))
/* Invariant 1, for two ranks: a writer's right excludes every right elsewhere. */
#define EXCLUDE(a, b)   (!APART(a, b) || \
                         !(MAY(a, WRITE) && MAY(b, READ)) && \
                         !(MAY(b, WRITE) && MAY(a, READ)) && \
                         !(state[a] == Modified && state[b] == Modified))

#if NR > 3
#define ONE_WRITING_DOMAIN (EXCLUDE(0, 1) && EXCLUDE(0, 2) && EXCLUDE(1, 2) && \
                            EXCLUDE(0, 3) && EXCLUDE(1, 3) && EXCLUDE(2, 3))
#else
#define ONE_WRITING_DOMAIN (EXCLUDE(0, 1) && EXCLUDE(0, 2) && EXCLUDE(1, 2))
#endif

/* What the directory says of rank r is what r may do, or could do were its copy
 * not aged. In MI it may have lost the copy. */
#define IS_HOLDER(r)    ((holders & BIT(r)) != 0)
#define HOLDS(r)        (state[r] == Shared || state[r] == Modified || \
                         state[r] == SM)
#define AGREES(r)       ((!HOLDS(r) || IS_HOLDER(r)) && \
                         (!IS_HOLDER(r) || HOLDS(r) || state[r] == MI) && \
                         (!MAY(r, READ) || HOLDS(r)) && \
                         (!MAY(r, WRITE) || state[r] == Modified && owner == DOM(r)) && \
                         (!HOLDS(r) || AGED(r) || MAY(r, READ)) && \
                         (state[r] != Modified || AGED(r) || MAY(r, WRITE)))
#if NR > 3
#define ALL_AGREE (AGREES(0) && AGREES(1) && AGREES(2) && AGREES(3))
#else
#define ALL_AGREE (AGREES(0) && AGREES(1) && AGREES(2))
#endif
/* The page is where the directory says. */
#define OWNER_HOLDS ((owner == NONE || (holders & RANKS(owner)) && \
                                       !(holders & ~RANKS(owner))) && \
                     (current & BIT(MEM(owner == NONE -> HOME : owner))))

/* ---- The home -------------------------------------------------------- */

byte owner = NONE;              /* domain that may write */
byte holders;                   /* set of ranks that have it mapped */
bit busy;                       /* a transaction is open ... */
mtype request;                  /* ... for this request */
byte requester;                 /* ... of this rank */
byte pending;                   /* set of ranks that have yet to answer */
byte last = NONE;               /* holder to ask when pending is empty */
bit granted;                    /* all have answered; `done` is awaited */
chan queue = [NR + ROOM - 2] of { mtype, byte };

#define REVOCATION  (request == req_share -> downgrade : invalidate)
#define ANSWER      (request == req_share -> write_back : ack_invalidate)
#define GRANT       (request == req_share -> ack_share : ack_exclusive)
/* Other holders of the requester's domain. */
#define COMPANIONS  (holders & RANKS(DOM(requester)) & ~BIT(requester))

/* `invalidate` or `downgrade` to every rank in pending. */
inline ask_pending()
{
	i = 0;
	do
	:: i < NR && (pending & BIT(i)) -> send_down(i, REVOCATION, 0); i++
	:: i < NR && !(pending & BIT(i)) -> i++
	:: i == NR -> i = 0; break
	od
}

/* The holder that copies the page to the home, if its copy is another one. */
inline ask_last()
{
	send_down(last, REVOCATION, (owner != HOME -> DATA : 0));
	pending = pending | BIT(last);
	last = NONE
}

inline open_transaction(m, q)
{
	busy = 1; request = m; requester = q;
	if
	:: m == req_evict -> skip
	:: m != req_evict && owner == DOM(q) || m == req_share && owner == NONE -> skip
	:: owner != DOM(q) && m == req_share && owner != NONE -> pending = holders
	:: owner != DOM(q) && m == req_exclusive -> pending = holders & ~RANKS(DOM(q))
	fi;
	/* Of an owner's holders any one may be the last. */
	if
	:: pending && owner != NONE ->
		if
		:: pending & BIT(0) -> last = 0
		:: pending & BIT(1) -> last = 1
		:: pending & BIT(2) -> last = 2
		:: pending & BIT(3) -> last = 3
		fi;
		pending = pending & ~BIT(last)
	:: else -> skip
	fi;
	ask_pending();
#ifdef MUTANT_DATA_FIRST
	if
	:: last != NONE -> ask_last()
	:: else -> skip
	fi
#endif
}

inline close_transaction()
{
	busy = 0; granted = 0; request = 0; requester = 0
}

/* The requester has no right any more. It gives the copy up: sends it home if it
 * is the page and nobody else of its domain has it, discards it if nobody has. */
inline grant_eviction()
{
#ifdef MUTANT_DISCARD_SHARED
	send_down(requester, ack_evict, LAST |
	          (owner == DOM(requester) && !COMPANIONS -> DATA : 0));
#else
	send_down(requester, ack_evict, (COMPANIONS -> 0 : LAST) |
	          (owner == DOM(requester) && !COMPANIONS -> DATA : 0));
#endif
	granted = 1;
#ifdef MUTANT_OWNER_FORGOTTEN
	forget_evicted(); close_transaction()
#endif
}

/* The copy of an owner that nobody holds is home. */
inline forget_evicted()
{
	if
	:: owner == DOM(requester) && !COMPANIONS -> owner = NONE
	:: else -> skip
	fi;
	holders = holders & ~BIT(requester)
}

inline grant()
{
	if
	:: request == req_exclusive -> owner = DOM(requester)
#ifndef MUTANT_OWNER_KEPT
	:: request == req_share && owner != DOM(requester) -> owner = NONE
#endif
	:: else -> skip
	fi;
#ifdef MUTANT_ALWAYS_DATA
	send_down(requester, GRANT, (DOM(requester) != HOME -> DATA : 0));
#else
	send_down(requester, GRANT,
	          (DOM(requester) != HOME && !(holders & RANKS(DOM(requester))) ->
	           DATA : 0));
#endif
	holders = holders | BIT(requester);
	granted = 1;
#ifdef MUTANT_NOT_BUSY
	close_transaction()
#endif
}

active [NR] proctype Directory()
{
	mtype m;
	byte i;
#define FROM _pid

	do
	:: atomic {
		RECEIVE(FROM, m);
		if
#ifdef MUTANT_EVICT_AT_ONCE
		:: m == req_evict && busy ->    /* it does not wait for its turn */
			send_down(FROM, ack_evict,
			          (holders & RANKS(DOM(FROM)) & ~BIT(FROM) -> 0 : LAST) |
			          (owner == DOM(FROM) -> DATA : 0))
		:: m == done && !(granted && requester == FROM) ->
			holders = holders & ~BIT(FROM)
		:: (m == req_share || m == req_exclusive || m == req_evict && !busy) ->
#else
		:: m == req_share || m == req_exclusive || m == req_evict ->
#endif
			assert(nfull(queue));
#ifdef MUTANT_UNFAIR
			queue!!m, FROM          /* low ranks overtake */
#else
			queue!m, FROM
#endif
		:: m == ack_invalidate || m == write_back ->
			expect(busy && !granted && m == ANSWER);
			expect(pending & BIT(FROM));
#ifdef MUTANT_EARLY_GRANT
			pending = 0;            /* the first answer will do */
#else
			pending = pending & ~BIT(FROM);
#endif
			if
			:: m == ack_invalidate -> holders = holders & ~BIT(FROM)
			:: else -> skip
			fi
#ifdef MUTANT_EVICT_AT_ONCE
		:: m == done && granted && requester == FROM ->
#elif defined(MUTANT_OWNER_FORGOTTEN)
		:: m == done && !(granted && requester == FROM) -> skip
		:: m == done && granted && requester == FROM ->
#else
		:: m == done ->
#endif
			expect(busy && granted && requester == FROM);
			if
			:: request == req_evict -> forget_evicted()
			:: else -> skip
			fi;
			expect(ALL_AGREE && OWNER_HOLDS);
#ifndef MUTANT_NOT_BUSY
			close_transaction()
#endif
		:: else -> assert(false)
		fi;
		m = 0;
		do
		:: !busy && nempty(queue) ->
			queue?m, i; open_transaction(m, i); m = 0
		:: busy && !granted && !pending && last != NONE -> ask_last()
		:: busy && !granted && !pending && last == NONE && request != req_evict -> grant()
		:: busy && !granted && !pending && last == NONE && request == req_evict ->
			grant_eviction()
		:: !busy && empty(queue) || busy && (granted || pending) -> break
		od }
	od
}

/* ---- Every rank ------------------------------------------------------ */

#ifdef HOLD
/*
 * Hold time, for the progress runs: a page just obtained stays until the thread
 * that asked has used it. The code holds for a time, not for this condition; the
 * time is meant to be long enough for one access. It runs from the moment the
 * right is raised. Without HOLD a revocation is put aside for any time, none
 * included.
 */
byte asker[NR];                 /* thread + 1 that sent the request */
byte held[NR];                  /* thread + 1 that has yet to use the page */
#define HELD(r) (held[r] != 0)
#else
#define HELD(r) false
#endif

#if defined(HOLD) && defined(EVICT)
/* A copy just revived is not aged again before it is used: the clock's hand has
 * to come round first. Unlike a hold this does not stop a revocation. */
byte fresh[NR];                 /* thread + 1 that asked for it */
#define FRESH(r) (fresh[r] != 0)
/* Weak fairness would let a service age for ever and never come to its messages, or
 * never to a thread's wish among them; the code's takes them in order. */
#define LEISURE(r) (!aside && empty(down[r]))
#define WISH(r) (aged[r] && revive[r])
#define FRESHEN fresh[R] = T + 1
#define USED_FRESH(t) if :: fresh[RANK(t)] == (t) + 1 -> fresh[RANK(t)] = 0 :: else -> skip fi
#define UNFRESH(r) fresh[r] = 0
#else
#define FRESH(r) false
#define LEISURE(r) true
#define WISH(r) false
#define FRESHEN skip
#define USED_FRESH(t) skip
#define UNFRESH(r) skip
#endif

active [NR] proctype Service()
{
	mtype m;                        /* the message at hand */
	byte data;                      /* its flags */
	mtype aside;                    /* the revocation put aside */
	bit aside_data;
#define ME (_pid - NR)

idle:
	do
	:: atomic {
		!WISH(ME) && nempty(down[ME]) ->
		down[ME]?m, data;
		if
		:: m == ack_share ->
			expect(state[ME] == IS);
			goto obtain
		:: m == ack_exclusive ->
			expect(state[ME] == IM || state[ME] == SM);
			expect(!(state[ME] == SM && data));
			goto obtain
#ifdef EVICT
		:: m == ack_evict ->
			expect(state[ME] == MI);
			goto give_up
#endif
		:: m == invalidate || m == downgrade ->
			/* Invariant 5. */
			expect(HOLDS(ME) || state[ME] == MI);
			expect(!aside);
			aside = m; aside_data = data; m = 0; data = 0
		:: else -> assert(false)
		fi }
#ifdef MUTANT_ACK_FIRST
	:: atomic {
		aside == invalidate && !HELD(ME) ->
		send_answer(ME, ack_invalidate); goto lose }
#else
	:: atomic {
		aside == invalidate && !HELD(ME) ->
		right[ME] = NO; goto lose }
#endif
	:: atomic {
		aside == downgrade && !HELD(ME) ->
		if
		:: right[ME] == WRITE -> right[ME] = READ
		:: else -> skip
		fi;
		goto weaken }
#ifdef EVICT
	/* The front hand takes the right of a copy, the back hand evicts what was
	 * not used since, or was lost. */
	:: atomic {
		kept[ME] && (state[ME] == Shared || state[ME] == Modified) &&
		!aged[ME] && !HELD(ME) && !FRESH(ME) && LEISURE(ME) ->
		aged[ME] = 1; goto age }
	:: atomic {
		aged[ME] && revive[ME] ->
#ifdef MUTANT_REVIVE_WRITE
		right[ME] = WRITE;
#else
		right[ME] = (state[ME] == Modified -> WRITE : READ);
#endif
		assert(ONE_WRITING_DOMAIN);
		goto revived }
	:: atomic {
		kept[ME] && (state[ME] == Invalid || aged[ME] && !revive[ME]) ->
		state[ME] = MI; FORGET_AGE(ME); goto evict }
#endif
	od;

#ifdef EVICT
age:
#ifdef MUTANT_LOWER_LATE
	skip; goto idle;
#else
	atomic { right[ME] = NO; goto idle };
#endif

revived:
	atomic { FORGET_AGE(ME); goto idle };

evict:
	atomic { send_request(ME, req_evict); goto idle };

give_up:
	if
#ifdef MUTANT_EVICT_NO_DATA
	:: skip
#else
	:: data & DATA -> copy_page(ME, MEM(HOME), MEM(DOM(ME)))
	:: else -> skip
#endif
	fi;
#ifdef MUTANT_LOWER_LATE
	right[ME] = NO;
#endif
	atomic {
		/* Memory that was given back reads as zero. */
		if
		:: data & LAST -> current = current & ~BIT(MEM(DOM(ME)))
		:: else -> skip
		fi
	};
	atomic { state[ME] = Invalid; kept[ME] = 0; m = 0; data = 0 };
	atomic { send_answer(ME, done); goto idle };
#endif

obtain:
	if
#ifdef MUTANT_SM_STAYS
	:: data && state[ME] != SM ->
#else
	:: data ->
#endif
#ifdef MUTANT_RIGHT_FIRST
		right[ME] = (m == ack_share -> READ : WRITE);
#endif
		copy_page(ME, MEM(DOM(ME)), MEM(HOME))
	:: else -> skip
	fi;
	atomic {
		right[ME] = (m == ack_share -> READ : WRITE);
#ifdef HOLD
		held[ME] = asker[ME]; asker[ME] = 0;
#endif
		assert(ONE_WRITING_DOMAIN)
	};
	atomic {
		state[ME] = (m == ack_share -> Shared : Modified);
		KEEP_COPY(ME);
		assert(ONE_WRITING_DOMAIN);
		m = 0; data = 0
	};
	atomic { send_answer(ME, done); goto idle };

lose:
	atomic {
#ifdef MUTANT_SILENT_MI
		if
		:: state[ME] == MI && !aside_data -> aside = 0; goto idle
		:: else -> skip
		fi;
#endif
#ifdef MUTANT_SILENT_SM
		if
		:: state[ME] == SM && !aside_data -> state[ME] = IM; aside = 0; goto idle
		:: else -> skip
		fi;
#endif
		if
#ifdef MUTANT_SM_STAYS
		:: state[ME] == SM -> skip
#else
		:: state[ME] == SM -> state[ME] = IM
#endif
		:: state[ME] == MI -> skip
		:: else -> state[ME] = Invalid
		fi;
		FORGET_AGE(ME); UNFRESH(ME)
	};
	if
	:: aside_data -> copy_page(ME, MEM(HOME), MEM(DOM(ME)))
	:: else -> skip
	fi;
	atomic {
#ifdef MUTANT_ACK_FIRST
		right[ME] = NO;
#else
		send_answer(ME, ack_invalidate);
#endif
		aside = 0; aside_data = 0; goto idle
	};

weaken:
	atomic {
#ifdef MUTANT_SILENT_SHARED
		if
		:: state[ME] != Modified && !aside_data -> aside = 0; goto idle
		:: else -> skip
		fi;
#endif
		if
		:: state[ME] == Modified -> state[ME] = Shared
		:: else -> skip
		fi
	};
	if
#ifdef MUTANT_NO_DATA
	:: skip
#else
	:: aside_data -> copy_page(ME, MEM(HOME), MEM(DOM(ME)))
	:: else -> skip
#endif
	fi;
	atomic { send_answer(ME, write_back); aside = 0; aside_data = 0; goto idle }
}

#ifdef HOLD
#define REMEMBER asker[R] = T + 1
#else
#define REMEMBER skip
#endif

/* Whose accesses count as progress: every rank's, or one rank's. */
#ifdef PROGRESS_OF
#define USEFUL(r) ((r) == PROGRESS_OF)
#else
#define USEFUL(r) true
#endif

/* Reads and writes for ever, in any order. */
active [NT] proctype Thread()
{
	byte want = READ;
#define T (_pid - 2 * NR)
#define R RANK(T)
#define HERE MEM(DOM(R))

again:
	if
	/* The access itself: no other step of any process lies inside. */
	:: atomic {
		MAY(R, want) ->
		assert(current & BIT(HERE));    /* no stale read, no lost update */
		if
		:: want == WRITE -> current = BIT(HERE)
		:: else -> skip
		fi;
#ifdef HOLD
		if
		:: held[R] == T + 1 -> held[R] = 0
		:: else -> skip
		fi;
#endif
		USED_FRESH(T);
		if
		:: want = READ
		:: want = WRITE
		fi;
		if
		:: USEFUL(R) -> goto progress
		:: else -> goto again
		fi }
	/* A fault. In a transient state the thread waits here. */
	:: atomic {
		state[R] == Invalid ->
		expect(!MAY(R, READ));
		state[R] = (want == READ -> IS : IM);
		REMEMBER };
		atomic { send_request(R, (want == READ -> req_share : req_exclusive)) };
		goto again
	:: atomic {
		state[R] == Shared && want == WRITE && !AGED(R) ->
		expect(!MAY(R, WRITE));
		state[R] = SM;
		REMEMBER };
		atomic { send_request(R, req_exclusive) };
		goto again
#ifdef EVICT
	:: atomic {
		aged[R] && !revive[R] && !MAY(R, want) ->
		revive[R] = 1; FRESHEN };
		goto again
#endif
	fi;
progress:
	goto again
}
