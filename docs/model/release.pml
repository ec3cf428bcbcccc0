/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Release consistency (src/coherence/release.h): one page of two bytes, homed in
 * domain 0. Byte i is protected by lock i; every thread OPS times takes one of
 * the locks, expects to read what was written last under it, writes the next
 * value, and gives the lock back. The threads choose freely, so two bytes of a
 * page have different writers at the same time.
 *
 * A configuration says which threads there are, as ranks and domains:
 *   HOMES      two ranks of the home's domain, one far rank
 *   TRIO       three domains
 *   SHARED     a rank at home, two ranks of one other domain sharing its copy
 *   PAIR       a rank at home, one rank of another domain with two threads
 *   DUO        a rank at home and one elsewhere, for many rounds
 *   CROWD      two ranks of the home's domain, one far rank with two threads
 * OPS: rounds of each thread; LAST: of the last one. And which of these are there:
 *   FAR        notices go by message and are acknowledged
 *   LOSSY      whoever looks into an inbox or the log may find entries lost
 *   EVICT      the hands of each cache make so many moves
 *   ATOMICS    byte 1 is changed by atomic operations
 *   COARSE     SHARERS may take any rank for a reader (sharers.h)
 */
#ifndef OPS
#define OPS 1
#endif
#ifndef LAST /* rounds of the last thread */
#define LAST OPS
#endif

#if defined(HOMES)
#define RANKS 3
#define THREADS 3
#define RANK_OF(t) (t)
#define DOMAIN(r) ((r) == 2 -> 1 : 0)
#elif defined(TRIO)
#define RANKS 3
#define THREADS 3
#define RANK_OF(t) (t)
#define DOMAIN(r) (r)
#elif defined(SHARED)
#define RANKS 3
#define THREADS 3
#define RANK_OF(t) (t)
#define DOMAIN(r) ((r) == 0 -> 0 : 1)
#elif defined(DUO)
#define RANKS 2
#define THREADS 2
#define RANK_OF(t) (t)
#define DOMAIN(r) (r)
#elif defined(CROWD)
#define RANKS 3
#define THREADS 4
#define RANK_OF(t) ((t) == 3 -> 2 : (t))
#define DOMAIN(r) ((r) == 2 -> 1 : 0)
#else /* PAIR */
#define RANKS 2
#define THREADS 3
#define RANK_OF(t) ((t) == 0 -> 0 : 1)
#define DOMAIN(r) (r)
#endif
#define DOMAINS 3

#define NONE 0
#define READ 1
#define WRITE 2
#define JUNK 3 /* in memory that was given back */

#define BIT(r) (1 << (r))
#define AT(d, i) ((d) * 2 + (i))

/* the home's domain */
byte home[2];
byte sharers;
bool logged;
bool busy;
#ifdef FAR
byte notices; /* on their way */
byte waiting; /* tellers that wait for them, whoever sent them: the entry's list */
#ifdef MUTANT_JOIN_READERS
byte telling; /* ranks to which one is on its way */
#endif
#else
#define notices 0
#endif
byte log_ahead[RANKS]; /* entries of the log past the rank's cursor */

/* a domain: the copy (domain 0's is `home`) */
byte copy[DOMAINS * 2];
byte twin[DOMAINS * 2];
byte writers[DOMAINS];
bool page_lock[DOMAINS];

/* a rank */
byte right[RANKS];
bool dirty[RANKS];
bool atomics[RANKS]; /* changed at the home by an atomic operation */
bool listed[RANKS];
bool held[RANKS]; /* the copy counts in the rank's cache */
bool aged[RANKS]; /* no right, but the copy is valid */
byte pending[RANKS];
byte inbox[RANKS]; /* notices not applied */
bool releasing[RANKS];

/* a thread, or the hands of a rank's cache: answers to come */
#define TELLERS (THREADS + RANKS)
byte left[TELLERS];
chan net[RANKS] = [TELLERS] of { byte };

/* the program */
bool lock[2];
byte current[2];
#ifdef ATOMICS
byte finished; /* threads */
#endif

inline page_take(d) { atomic { !page_lock[d] -> page_lock[d] = true } }
inline page_give(d) { page_lock[d] = false }

inline log_post()
{
    d_step {
        k = 0;
        do
        :: k < RANKS && DOMAIN(k) == 0 -> log_ahead[k]++; k++
        :: k < RANKS && DOMAIN(k) != 0 -> k++
        :: else -> break
        od;
        k = 0
    }
}

/* Readers that there may not be. */
#ifdef COARSE
inline others_too()
{
    if
    :: true
    :: sharers = sharers | BIT(0)
    :: sharers = sharers | BIT(1)
#if RANKS > 2
    :: sharers = sharers | BIT(2)
    :: sharers = BIT(0) | BIT(1) | BIT(2)
#else
    :: sharers = BIT(0) | BIT(1)
#endif
    fi
}
#else
#define others_too() skip
#endif

/* LOGGED is set when the entry is in the log: a second reader relies on it. */
inline register_me()
{
#ifdef MUTANT_LOGGED_FIRST
    d_step {
        found = logged;
        sharers = sharers | BIT(r);
        logged = true
    }
    if
    :: !found -> log_post()
    :: else
    fi
#else
    atomic {
        found = logged;
        sharers = sharers | BIT(r);
        others_too()
    }
    if
    :: !found ->
        atomic { !busy -> busy = true };
        if
        :: !logged ->
#ifndef MUTANT_LOG_LATE
            log_post();
#endif
            d_step { sharers = sharers | BIT(r); logged = true }
        :: else -> sharers = sharers | BIT(r)
        fi;
        busy = false
    :: else
    fi
#endif
}

/* one byte of the home into the copy of domain d */
inline byte_fetch(i)
{
    atomic {
        v = home[i];
#ifdef MUTANT_OVERWRITE
        copy[AT(d, i)] = v
#else
        if
        :: writers[d] == 0 -> copy[AT(d, i)] = v
        :: writers[d] > 0 && v != twin[AT(d, i)] ->
            copy[AT(d, i)] = v;
            twin[AT(d, i)] = v
        :: else
        fi
#endif
    }
}

inline list_add(flag)
{
    atomic {
        if
        :: flag /* listed, or who takes it waits for the page's lock */
        :: else ->
            flag = true;
            if
            :: !listed[r] -> listed[r] = true; pending[r]++
            :: else
            fi
        fi
    }
}

inline copy_fault(write)
{
    if
    :: right[r] == NONE && !aged[r] ->
#ifndef MUTANT_REGISTER_LATE
        register_me();
#endif
        byte_fetch(0);
        byte_fetch(1);
#ifdef MUTANT_LOG_LATE
        if
        :: !found -> log_post()
        :: else
        fi
#endif
#ifdef MUTANT_REGISTER_LATE
        register_me()
#endif
    :: else
    fi;
#ifdef EVICT
    d_step { held[r] = true; aged[r] = false };
#endif
    if
    :: write ->
        atomic {
            if
            :: writers[d] == 0 ->
                twin[AT(d, 0)] = copy[AT(d, 0)];
                twin[AT(d, 1)] = copy[AT(d, 1)]
            :: else
            fi;
            writers[d]++
        };
        list_add(dirty[r]);
        right[r] = WRITE
    :: else -> right[r] = READ
    fi
}

inline home_fault(write)
{
    found = sharers != 0 || logged || busy;
    if
    :: found && write -> list_add(dirty[r]); right[r] = WRITE
    :: found && !write -> right[r] = READ
    :: !found -> right[r] = WRITE
    fi
}

inline fault(write)
{
#ifndef MUTANT_NO_PAGE_LOCK
    page_take(d);
#endif
    if
    :: right[r] == WRITE || (right[r] == READ && !write)
    :: else ->
        if
        :: d == 0 -> home_fault(write)
        :: else -> copy_fault(write)
        fi
    fi;
#ifndef MUTANT_NO_PAGE_LOCK
    page_give(d)
#endif
}

/* A notice to rank t. */
inline notice(t, all)
{
    if
    :: (told & BIT(t)) && ((all) || DOMAIN(t) != d) && DOMAIN(t) != 0 ->
#ifdef FAR
        atomic {
#ifdef MUTANT_JOIN_READERS
            if
            :: telling & BIT(t)
            :: else ->
                telling = telling | BIT(t);
                notices++;
                left[me]++;
                net[t]!me
            fi
#else
            notices++;
            left[me]++;
            net[t]!me
#endif
        }
#else
        inbox[t]++
#endif
    :: else
    fi
}

/* Those of my domain, who need no notice of what I wrote. */
#define OWN(set)                                                              \
    ((DOMAIN(0) == d -> (set) & 1 : 0) | (DOMAIN(1) == d -> (set) & 2 : 0) |   \
     (RANKS > 2 && DOMAIN(2) == d -> (set) & 4 : 0))

/* Others' notices of the page are on their way: the release waits for them too. */
#if defined(FAR) && !defined(MUTANT_NO_JOIN)
#define JOINS (notices > 0)
inline join()
{
    if
    :: notices > 0 ->
        left[me]++;
#ifdef MUTANT_JOIN_ONE
        waiting = BIT(me)
#else
        waiting = waiting | BIT(me)
#endif
    :: else
    fi
}
#else
#define JOINS false
#define join() skip
#endif

/* Those of my domain, who stay. A home rank reads no copies: none is kept at home. */
#ifdef COARSE
#define KEPT(set) (d == 0 -> 0 : OWN(set))
#else
#define KEPT(set) OWN(set)
#endif

inline tell_locked(last, all)
{
#ifndef MUTANT_NOT_BUSY
    atomic { !busy -> busy = true };
#endif
    atomic {
        told = sharers - ((all) -> 0 : KEPT(sharers));
        sharers = sharers - told;
#ifdef COARSE
        if
        :: sharers != 0 -> others_too() /* a group has others too */
        :: else
        fi;
#endif
        joined = JOINS;
        join()
    };
    notice(0, all);
    notice(1, all);
#if RANKS > 2
    notice(2, all);
#endif
    if
    :: last && told == 0 && !joined ->
#ifdef MUTANT_FREE_BLIND
        d_step { logged = false; freed = true }
#else
        d_step {
            if
            :: sharers == 0 -> logged = false; freed = true
            :: else
            fi
        }
#endif
    :: else
    fi;
    joined = false;
    busy = false
}

/* freed: the page has no reader and is written without faults from now on */
inline tell(last, all)
{
    /* nobody to tell, nobody being told: two looks without the lock */
    d_step {
        quiet = !(last) && !busy && sharers == ((all) -> 0 : OWN(sharers))
    }
#ifndef MUTANT_QUIET_BLIND
    quiet = quiet && notices == 0;
#endif
    if
    :: quiet
    :: else -> tell_locked(last, all)
    fi
}

inline byte_send(i)
{
    atomic {
        v = copy[AT(d, i)];
#ifdef MUTANT_WHOLE_PAGE
        home[i] = v;
        changed = true
#else
        if
        :: v != twin[AT(d, i)] ->
            home[i] = v;
            changed = true;
#ifndef MUTANT_TWIN_STALE
            twin[AT(d, i)] = v
#endif
        :: else
        fi
#endif
    }
}

#define KEEP 0
#define WATCH 1
#define DROP 2
#define AGE 3
#ifdef MUTANT_DROP_UNSENT
#define UNSENT DROP
#endif
#ifdef MUTANT_EVICT_UNSENT
#define UNSENT AGE
#endif

/* A copy's difference goes home, and who must hear of it is told: of an atomic
 * operation, which may have left the domain's copy as it was, the own domain too. */
#ifdef MUTANT_ATOMIC_OWN_DOMAIN
#define ALL false
#else
#define ALL atomics[r]
#endif
inline copy_flush(how)
{
    if
    :: dirty[r] ->
#ifdef MUTANT_NOTICE_FIRST
        tell(false, false);
#endif
#ifdef UNSENT
        if
        :: how == UNSENT
        :: else -> byte_send(0); byte_send(1)
        fi;
#else
        byte_send(0);
        byte_send(1);
#endif
        writers[d]--
    :: else
    fi;
#ifndef MUTANT_NOTICE_FIRST
    if
    :: changed || atomics[r] -> tell(false, ALL)
    :: else
    fi
#endif
}

inline flush(how)
{
    if
    :: how == KEEP -> listed[r] = false
    :: else
    fi;
    page_take(d);
    freed = false;
    changed = false;
    if
    :: dirty[r] || atomics[r] || how == WATCH ->
        if
#ifdef MUTANT_WRITE_STAYS
        :: how != WATCH && right[r] == WRITE -> right[r] = READ
#else
        :: right[r] == WRITE -> right[r] = READ
#endif
        :: else
        fi;
        if
        :: d == 0 -> tell(how != WATCH, false)
        :: else -> copy_flush(how)
        fi;
        d_step { dirty[r] = false; atomics[r] = false };
        left[me] == 0;
        if
        :: freed -> right[r] = WRITE
        :: else
        fi
    :: else
    fi;
    if
    :: how == DROP ->
#if defined(EVICT) && !defined(MUTANT_AGED_KEPT)
        aged[r] = false;
#endif
        right[r] = NONE
    :: how == AGE && right[r] != NONE ->
        aged[r] = true;
        right[r] = NONE
    :: else
    fi;
    page_give(d)
}

#include "release_bounds.pml"
#include "release_atomic.pml"

/* ---- release ---- */

inline log_drain()
{
    n = log_ahead[r];
    if
    :: n > 0 -> flush(WATCH); log_ahead[r] = log_ahead[r] - n
#ifdef LOSSY
    :: n > 0 -> log_lost(); log_ahead[r] = log_ahead[r] - n
#endif
    :: else
    fi
}

inline release()
{
    if
    :: pending[r] == 0 && log_ahead[r] == 0
    :: else ->
        atomic { !releasing[r] -> releasing[r] = true };
        log_drain();
        n = pending[r];
        if
        :: n > 0 -> flush(KEEP); pending[r] = pending[r] - n
        :: else
        fi;
        n = 0;
        releasing[r] = false
    fi
}

/* ---- acquire ---- */

/* The tail that was read before the pages were dropped, not the one of now. */
inline inbox_applied()
{
#ifdef MUTANT_TAIL_LATE
    inbox[r] = 0
#else
    inbox[r] = inbox[r] - n
#endif
}

inline inbox_drain()
{
    n = inbox[r];
    if
#ifdef MUTANT_APPLIED_EARLY
    :: n > 0 -> inbox_applied(); flush(DROP)
#else
    :: n > 0 -> flush(DROP); inbox_applied()
#endif
#ifdef LOSSY
    :: n > 0 -> inbox_lost(); inbox_applied()
#endif
    :: else
    fi
}

inline acquire()
{
    if
    :: inbox[r] == 0
    :: else ->
        atomic { !releasing[r] -> releasing[r] = true };
        inbox_drain();
        n = 0;
        releasing[r] = false
    fi
}

/* ---- the program ---- */

/* Loads and stores happen while the right is there, or fault. */
inline load(i)
{
    do
    :: atomic {
           right[r] >= READ ->
           if
           :: d == 0 -> v = home[i]
           :: else -> v = copy[AT(d, i)]
           fi
       }
       break
    :: right[r] < READ -> fault(false)
    od
}

inline store(i)
{
    do
    :: atomic {
           right[r] == WRITE ->
           current[i] = (current[i] + 1) % 3;
           if
           :: d == 0 -> home[i] = current[i]
           :: else -> copy[AT(d, i)] = current[i]
           fi
       }
       break
    :: right[r] < WRITE -> fault(true)
    od
}

proctype thread(byte me; byte r; byte d)
{
    byte round, which, v, n, k, told;
    bool quiet, joined;
    bool found, changed, freed;
    do
    :: round < (me == THREADS - 1 -> LAST : OPS) ->
        if
        :: which = 0
        :: which = 1
        fi;
        atomic { !lock[which] -> lock[which] = true };
        acquire();
#ifdef ATOMICS
        if
        :: which == 1 ->
            if
            :: atomic_add(1)
            :: true
            fi;
            if
            :: load(1); assert(v == current[1])
            :: true
            fi
        :: else ->
            load(0);
            assert(v == current[0]);
            store(0)
        fi;
        v = 0;
#else
        load(which);
        assert(v == current[which]);
        v = 0;
        store(which);
#endif
        release();
        lock[which] = false;
        which = 0;
        round++
    :: else -> break
    od;
#ifdef ATOMICS
    /* all has been released: it is home */
    atomic {
        finished++;
        if
        :: finished == THREADS ->
            v = home[0];
            assert(v == current[0]);
            v = home[1];
            assert(v == current[1])
        :: else
        fi
    }
#else
    skip
#endif
}

#ifdef FAR
inline answer(t)
{
    if
    :: waiting & BIT(t) -> left[t]--
    :: else
    fi
}

/* Carries notices to rank t, and the acknowledgement back. The last of a page's
 * answers all who wait for them. */
proctype network(byte t)
{
    byte writer;
end:
    do
    :: net[t]?writer ->
        inbox[t]++;
        atomic {
            !busy ->
            notices--;
#ifdef MUTANT_JOIN_READERS
            if
            :: notices == 0 -> telling = 0
            :: else
            fi;
#endif
            if
#ifdef MUTANT_FIRST_ANSWERS
            :: true ->
#else
            :: notices == 0 ->
#endif
                answer(0);
                answer(1);
                answer(2);
                answer(3);
                answer(4);
                answer(5);
                answer(6);
                waiting = 0
            :: else
            fi
        };
        left[writer]--
    od
}
#endif

init
{
    byte i;
    atomic {
        i = 0;
        do
        :: i < RANKS ->
            right[i] = (DOMAIN(i) == 0 -> WRITE : NONE);
#ifdef FAR
            run network(i);
#endif
#ifdef EVICT
            if
            :: DOMAIN(i) != 0 -> run hands(THREADS + i, i, DOMAIN(i))
            :: else
            fi;
#endif
            i++
        :: else -> break
        od;
        i = 0;
        do
        :: i < THREADS -> run thread(i, RANK_OF(i), DOMAIN(RANK_OF(i))); i++
        :: else -> break
        od;
        i = 0
    }
}
