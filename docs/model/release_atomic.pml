/* SPDX-License-Identifier: BSD-3-Clause */
/* Part of release.pml: recto_fetch_add and its kin (rel_atomic.c). */

/* An atomic operation on byte i, at the home. The copy gets the new value too if
 * this rank may read it without a fetch, and with the twin if some rank of the
 * domain writes the page. */
inline atomic_add(i)
{
    page_take(d);
    atomic {
        v = home[i];
        assert(v == current[i]);
        current[i] = (current[i] + 1) % 3;
        v = current[i];
        home[i] = v
    };
    if
    :: d == 0 && right[r] == WRITE
    :: d == 0 && right[r] != WRITE -> list_add(atomics[r])
    :: else ->
        if
#ifdef MUTANT_ATOMIC_RIGHT
        :: right[r] != NONE || aged[r] -> copy[AT(d, i)] = v
#elif defined(MUTANT_ATOMIC_AGED)
        :: writers[d] > 0 || right[r] != NONE -> copy[AT(d, i)] = v
#else
        :: writers[d] > 0 || right[r] != NONE || aged[r] -> copy[AT(d, i)] = v
#endif
        :: else
        fi;
        if
#ifndef MUTANT_ATOMIC_TWIN
        :: writers[d] > 0 -> twin[AT(d, i)] = v
#endif
        :: else
        fi;
        list_add(atomics[r])
    fi;
    page_give(d)
}
