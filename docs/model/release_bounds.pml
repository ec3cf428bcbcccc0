/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Part of release.pml: what happens when a board of bounded length has lost
 * entries (release.c), and when a cache makes room (rel_cache.c).
 */

/* ---- overflow ---- */

/* Every home page with readers counts as new, or with LOGGED: one whose reader
 * was told stays logged, and who reads it next relies on that. */
inline log_lost()
{
#ifdef MUTANT_WATCH_READERS
    found = sharers != 0;
#else
    found = sharers != 0 || logged || busy;
#endif
    if
    :: found -> flush(WATCH)
    :: else
    fi
}

/* Notices were lost: does this rank have a copy, or is a thread about to get one?
 * Three looks without the page's lock: a thread that gets an aged copy back first
 * says that it is not aged, and last raises the right. */
inline inbox_lost()
{
#ifdef MUTANT_AGED_LAST
    found = page_lock[d];
    found = found || right[r] != NONE;
    found = found || aged[r];
#else
#ifdef MUTANT_AGED_UNSEEN
    found = false;
#else
    found = aged[r];
#endif
#ifndef MUTANT_FETCHING_UNSEEN
    found = found || page_lock[d];
#endif
    found = found || right[r] != NONE;
#endif
    if
    :: found -> flush(DROP)
    :: else
    fi
}

/* ---- the cache ---- */

#ifdef EVICT
#define OTHERS_HOLD                                                            \
    ((RANKS > 2 && r == 1 && DOMAIN(2) == d && held[2]) ||                     \
     (r == 2 && DOMAIN(1) == d && held[1]))

/* The back hand: a page that was not accessed since it was aged goes. */
inline give_up()
{
    page_take(d);
    if
#ifdef MUTANT_EVICT_MAPPED
    :: true ->
#else
    :: right[r] == NONE ->
#endif
        d_step { held[r] = false; aged[r] = false };
        if
#ifndef MUTANT_EVICT_SHARED
        :: OTHERS_HOLD
#endif
        :: else ->
            d_step {
                copy[AT(d, 0)] = JUNK;
                copy[AT(d, 1)] = JUNK;
                twin[AT(d, 0)] = JUNK;
                twin[AT(d, 1)] = JUNK
            }
        fi
    :: else
    fi;
    page_give(d)
}

/* The hands of a rank's cache: other threads of the rank, which fault on other
 * pages and need room. */
proctype hands(byte me; byte r; byte d)
{
    byte moves, v, n, k, told;
    bool quiet, joined, found, changed, freed;
end:
    do
    :: moves == EVICT -> break
    :: atomic {
           moves < EVICT && held[r] && !releasing[r] ->
           releasing[r] = true;
           moves++
       };
       if
       :: true ->
#ifdef MUTANT_EVICT_UNREGISTERS
           sharers = sharers & (255 - BIT(r));
#endif
           flush(AGE)
       :: give_up()
       fi;
       releasing[r] = false
    od
}
#endif
