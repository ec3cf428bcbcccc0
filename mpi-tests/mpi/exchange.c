/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that net_exchange brings each parcel to its rank once and whole, whoever
 * sends to whom: nobody, oneself, one rank that gets everything, one that sends
 * everything, more parcels than may be under way, random partners; that exchanges
 * which follow each other do not mix, though ranks come late to them; and that an
 * error of who takes parcels is that rank's alone and keeps nobody waiting.
 */
#include <sched.h>

#include "net/net.h"
#include "test.h"

enum {
    MANY = 300, /* parcels to one rank, more than may be under way */
    ROUNDS = 200
};

/* Begins each parcel; what follows it are bytes made of these. */
struct head {
    uint64_t round;
    uint64_t from;
    uint64_t to;
    uint64_t bytes;
};

struct in {
    uint64_t round;
    uint64_t parcels;
    uint64_t bytes;
    int fail; /* with this */
};

static unsigned char byte_of(const struct head *h, uint64_t i)
{
    return (unsigned char)test_hash(h->round * 1000 + h->from, h->to, i / 64);
}

static int take(void *context, const void *data, size_t bytes)
{
    struct in *in = context;
    struct head h;
    CHECK(bytes >= sizeof h);
    memcpy(&h, data, sizeof h);
    CHECK(h.round == in->round && h.to == (uint64_t)recto_rank());
    CHECK(h.bytes == bytes);
    for (uint64_t i = sizeof h; i < bytes; i++) {
        CHECK(((const unsigned char *)data)[i] == byte_of(&h, i));
    }
    in->parcels++;
    in->bytes += bytes;
    return in->fail;
}

struct out {
    struct net_parcel *parcels;
    size_t count;
    int64_t *expected; /* of each rank: parcels, bytes */
};

static void send(struct out *out, uint64_t round, int to, uint64_t bytes)
{
    struct head h = {round, (uint64_t)recto_rank(), (uint64_t)to, bytes};
    unsigned char *data = malloc(bytes);
    out->parcels =
        realloc(out->parcels, (out->count + 1) * sizeof *out->parcels);
    CHECK(data != NULL && out->parcels != NULL);
    memcpy(data, &h, sizeof h);
    for (uint64_t i = sizeof h; i < bytes; i++) {
        data[i] = byte_of(&h, i);
    }
    out->parcels[out->count++] = (struct net_parcel){to, bytes, data};
    out->expected[2 * to]++;
    out->expected[2 * to + 1] += (int64_t)bytes;
}

/* Exchanges; the sums that came are those that all ranks sent here. */
static void exchange(struct out *out, uint64_t round, int fail)
{
    struct in in = {.round = round, .fail = fail};
    CHECK(net_exchange(out->parcels, out->count, take, &in) ==
          (in.parcels > 0 ? fail : 0));
    CHECK_OK(net_allreduce_sum(out->expected, 2 * recto_size()));
    const int64_t *mine = out->expected + 2 * recto_rank();
    CHECK(fail != 0 ||
          ((int64_t)in.parcels == mine[0] && (int64_t)in.bytes == mine[1]));
    CHECK(fail == 0 || in.parcels <= 1); /* the first is the last */
    for (size_t i = 0; i < out->count; i++) {
        free((void *)out->parcels[i].data);
    }
    free(out->parcels);
    out->parcels = NULL;
    out->count = 0;
    memset(out->expected, 0, 2 * (size_t)recto_size() * sizeof *out->expected);
}

static uint64_t round_next(void)
{
    static uint64_t round;
    return ++round;
}

static void patterns(struct out *out)
{
    int n = recto_size();
    uint64_t round = round_next();
    exchange(out, round, 0); /* nobody */
    round = round_next();
    send(out, round, recto_rank(), 100);
    exchange(out, round, 0); /* oneself */
    round = round_next();
    for (int i = 0; i < MANY; i++) {
        send(out, round, n - 1, sizeof(struct head) + (uint64_t)i);
    }
    exchange(out, round, 0); /* all to one */
    round = round_next();
    for (int to = 0; recto_rank() == 0 && to < n; to++) {
        send(out, round, to, NET_PARCEL);
    }
    exchange(out, round, 0); /* one to all, as large as may be */
    round = round_next();
    for (int to = 0; to < n; to++) {
        send(out, round, to, 1000 + (uint64_t)to);
    }
    exchange(out, round, recto_rank() == n / 2 ? RECTO_ENOMEM : 0);
}

/* Rounds one after the other without a barrier between them; some come late. */
static void rounds(struct out *out, uint64_t seed)
{
    int n = recto_size();
    uint64_t state = test_hash(seed, (uint64_t)recto_rank(), 5) | 1;
    struct in in[ROUNDS] = {{0}};
    int64_t *sent = calloc((size_t)ROUNDS * (size_t)n, sizeof *sent);
    CHECK(sent != NULL);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        in[i].round = round_next();
        for (uint64_t k = test_random(&state) % 4; k > 0; k--) {
            int to = (int)(test_random(&state) % (uint64_t)n);
            send(out, in[i].round, to,
                 sizeof(struct head) + test_random(&state) % 9000);
            sent[i * (uint64_t)n + (uint64_t)to]++;
        }
        for (uint64_t k = test_random(&state) % 40; k > 0; k--) {
            sched_yield();
        }
        CHECK_OK(net_exchange(out->parcels, out->count, take, &in[i]));
        for (size_t k = 0; k < out->count; k++) {
            free((void *)out->parcels[k].data);
        }
        out->count = 0;
    }
    CHECK_OK(net_allreduce_sum(sent, ROUNDS * n));
    for (uint64_t i = 0; i < ROUNDS; i++) {
        CHECK((int64_t)in[i].parcels ==
              sent[i * (uint64_t)n + (uint64_t)recto_rank()]);
    }
    free(sent);
    memset(out->expected, 0, 2 * (size_t)n * sizeof *out->expected);
}

/* What lies together and goes to one rank is one parcel, up to its size. */
static void list(void)
{
    static char bytes[3 * NET_PARCEL];
    struct net_parcels p = {0};
    for (size_t i = 0; i < 10; i++) {
        CHECK_OK(net_parcels_add(&p, i < 6 ? 0 : 1, bytes + i * 48, 48));
    }
    CHECK(p.count == 2 && p.items[0].bytes == 6 * 48 && p.items[1].to == 1);
    CHECK_OK(net_parcels_add(&p, 1, bytes + 1000, 48));
    CHECK(p.count == 3);
    size_t most = NET_PARCEL / 48 * 48;
    for (size_t at = 0; at < most + 48; at += 48) {
        CHECK_OK(net_parcels_add(&p, 2, bytes + at, 48));
    }
    CHECK(p.count == 5 && p.items[3].bytes == most && p.items[4].bytes == 48);
    free(p.items);
}

int main(int argc, char **argv)
{
    test_begin(&argc, &argv);
    uint64_t seed = test_seed("seed");
    struct out out = {0};
    out.expected = calloc(2 * (size_t)recto_size(), sizeof *out.expected);
    CHECK(out.expected != NULL);
    list();
    patterns(&out);
    rounds(&out, seed);
    patterns(&out);
    free(out.parcels);
    free(out.expected);
    return test_end("exchange of parcels");
}
