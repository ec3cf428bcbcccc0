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
 * FAR: notices go by message and are acknowledged. OPS: rounds of each thread;
 * LAST: of the last one.
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

#define BIT(r) (1 << (r))
#define AT(d, i) ((d) * 2 + (i))

/* the home's domain */
byte home[2];
byte sharers;
bool logged;
bool busy;
byte telling; /* ranks to which a notice is on its way */
byte notices;
byte log_ahead[RANKS]; /* entries of the log past the rank's cursor */

/* a domain: the copy (domain 0's is `home`) */
byte copy[DOMAINS * 2];
byte twin[DOMAINS * 2];
byte writers[DOMAINS];
bool page_lock[DOMAINS];

/* a rank */
byte right[RANKS];
bool dirty[RANKS];
bool listed[RANKS];
byte pending[RANKS];
byte inbox[RANKS]; /* notices not applied */
bool releasing[RANKS];

/* a thread: answers to come */
byte left[THREADS];
chan net[RANKS] = [THREADS] of { byte };

/* the program */
bool lock[2];
byte current[2];

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
    d_step {
        found = logged;
        sharers = sharers | BIT(r)
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

inline list_add()
{
    atomic {
        dirty[r] = true;
        if
        :: !listed[r] -> listed[r] = true; pending[r]++
        :: else
        fi
    }
}

inline copy_fault(write)
{
    if
    :: right[r] == NONE ->
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
        list_add();
        right[r] = WRITE
    :: else -> right[r] = READ
    fi
}

inline home_fault(write)
{
    found = sharers != 0 || logged || busy;
    if
    :: found && write -> list_add(); right[r] = WRITE
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
inline notice(t)
{
    if
    :: (told & BIT(t)) && DOMAIN(t) != d && DOMAIN(t) != 0 ->
#ifdef FAR
        atomic {
            telling = telling | BIT(t);
            notices++;
            left[me]++;
            net[t]!me
        }
#else
        inbox[t]++
#endif
    :: else
    fi
}

/* Those of my domain. */
#define OWN(set)                                                              \
    ((DOMAIN(0) == d -> (set) & 1 : 0) | (DOMAIN(1) == d -> (set) & 2 : 0) |   \
     (RANKS > 2 && DOMAIN(2) == d -> (set) & 4 : 0))

inline tell_locked(last)
{
#ifndef MUTANT_NOT_BUSY
    atomic { !busy -> busy = true };
#endif
    d_step {
        told = sharers - OWN(sharers);
#ifndef MUTANT_NO_TELLING
        told = told | telling;
#endif
        sharers = OWN(sharers)
    }
    notice(0);
    notice(1);
#if RANKS > 2
    notice(2);
#endif
    if
    :: last && told == 0 ->
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
    busy = false
}

/* freed: the page has no reader and is written without faults from now on */
inline tell(last)
{
    /* nobody to tell, nobody being told: two looks without the lock */
    d_step { quiet = !(last) && !busy && sharers == OWN(sharers) };
#ifndef MUTANT_QUIET_BLIND
    quiet = quiet && telling == 0;
#endif
    if
    :: quiet
    :: else -> tell_locked(last)
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

inline flush(how)
{
    page_take(d);
    if
    :: how == KEEP -> listed[r] = false
    :: else
    fi;
    freed = false;
    changed = false;
    if
    :: dirty[r] || how == WATCH ->
#ifdef MUTANT_WRITE_STAYS
        if
        :: how != WATCH && right[r] == WRITE -> right[r] = READ
        :: else
        fi;
#else
        if
        :: right[r] == WRITE -> right[r] = READ
        :: else
        fi;
#endif
        if
        :: d == 0 -> tell(how != WATCH)
        :: else ->
#ifdef MUTANT_DROP_UNSENT
            if
            :: how != DROP ->
#endif
#ifdef MUTANT_NOTICE_FIRST
            tell(false);
#endif
            byte_send(0);
            byte_send(1);
#ifndef MUTANT_NOTICE_FIRST
            if
            :: changed -> tell(false)
            :: else
            fi;
#endif
#ifdef MUTANT_DROP_UNSENT
            :: else
            fi;
#endif
            writers[d]--
        fi;
        dirty[r] = false;
        left[me] == 0;
        if
        :: freed -> right[r] = WRITE
        :: else
        fi
    :: else
    fi;
    if
    :: how == DROP -> right[r] = NONE
    :: else
    fi;
    page_give(d)
}

inline release()
{
    if
    :: pending[r] == 0 && log_ahead[r] == 0
    :: else ->
        atomic { !releasing[r] -> releasing[r] = true };
        n = log_ahead[r];
        if
        :: n > 0 -> flush(WATCH); log_ahead[r] = log_ahead[r] - n
        :: else
        fi;
        n = pending[r];
        if
        :: n > 0 -> flush(KEEP); pending[r] = pending[r] - n
        :: else
        fi;
        n = 0;
        releasing[r] = false
    fi
}

inline acquire()
{
    if
    :: inbox[r] == 0
    :: else ->
        atomic { !releasing[r] -> releasing[r] = true };
        n = inbox[r];
        if
        :: n > 0 ->
#ifdef MUTANT_APPLIED_EARLY
            inbox[r] = inbox[r] - n;
            flush(DROP)
#else
            flush(DROP);
            inbox[r] = inbox[r] - n
#endif
        :: else
        fi;
        n = 0;
        releasing[r] = false
    fi
}

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
    bool quiet;
    bool found, changed, freed;
    do
    :: round < (me == THREADS - 1 -> LAST : OPS) ->
        if
        :: which = 0
        :: which = 1
        fi;
        atomic { !lock[which] -> lock[which] = true };
        acquire();
        load(which);
        assert(v == current[which]);
        v = 0;
        store(which);
        release();
        lock[which] = false;
        which = 0;
        round++
    :: else -> break
    od
}

/* Carries notices to rank t, and the acknowledgement back. */
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
            if
            :: notices == 0 -> telling = 0
            :: else
            fi
        };
        left[writer]--
    od
}

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
