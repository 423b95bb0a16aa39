/* random.c: random streams that need no state: Philox4x32-10 and the order of an epoch.
 *
 * J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The counter is
 * (block low, block high, stream low, purpose | stream high << 8), the key is the 64-bit seed; element i of a stream of
 * 64-bit keys is words 2 (i mod 2) and 2 (i mod 2) + 1 of block i / 2. src/nncore/streams.py draws the same numbers.
 *
 * A shuffle is the order of the rows' keys, ties by row: uniform over all permutations but for ties of 64-bit keys.
 * Keys are uniform, so one pass by their leading bits leaves about a row in a bucket, and insertion sorts the rest. Large
 * permutations first go through buckets of row numbers alone, so that scratch stays small whatever the number of rows.
 */
#include <string.h>

#include "kernels.h"

enum {
    SMALL = 1 << 14, /* rows that are sorted at once */
    CHUNK = 512      /* keys that are drawn at once, where they are not kept */
};

static int log2_above(uint64_t n) { /* smallest b with 2^b >= n */
    int b = 0;
    while (((uint64_t)1 << b) < n) b++;
    return b;
}

/* order[i]: the numbers 0..n-1 by ascending key, ties by number. `leading`: how many leading bits all keys share. */
static void sort_keys(const uint64_t *keys, uint32_t n, int leading, uint32_t *order, uint64_t *sorted,
                      uint32_t *count) {
    const int bits = n > 1 ? log2_above(n) : 1, shift = 64 - leading - bits;
    const uint32_t buckets = 1u << bits;
    const uint64_t numbers = buckets - 1;
    memset(count, 0, (buckets + 1) * sizeof *count);
    for (uint32_t i = 0; i < n; i++) count[((keys[i] >> shift) & numbers) + 1]++;
    for (uint32_t b = 0; b < buckets; b++) count[b + 1] += count[b];
    /* the key's last bits give way to the row's number, so that a pair is one word */
    for (uint32_t i = 0; i < n; i++) sorted[count[(keys[i] >> shift) & numbers]++] = (keys[i] & ~numbers) | i;
    /* one pass that carries the larger word along, without a branch, sorts all buckets of two words; ... */
    uint64_t larger = sorted[0];
    for (uint32_t i = 1; i < n; i++) {
        const uint64_t x = larger, y = sorted[i];
        sorted[i - 1] = x < y ? x : y;
        larger = x < y ? y : x;
    }
    sorted[n - 1] = larger;
    /* ... then insertion over the whole array: no word is further from its place than its bucket is long */
    for (uint32_t i = 1; i < n; i++) {
        const uint64_t x = sorted[i];
        if (sorted[i - 1] <= x) continue;
        uint32_t j = i;
        for (; j && sorted[j - 1] > x; j--) sorted[j] = sorted[j - 1];
        sorted[j] = x;
    }
    int ties = 0;
    uint64_t before = ~sorted[0];
    for (uint32_t i = 0; i < n; i++) {
        ties |= (sorted[i] ^ before) <= numbers;
        before = sorted[i];
        order[i] = (uint32_t)(before & numbers);
    }
    if (!ties) return;
    for (uint32_t i = 1; i < n; i++) { /* words alike but for the row: the whole keys decide */
        const uint32_t row = order[i];
        uint32_t j = i;
        for (; j && (keys[order[j - 1]] > keys[row] || (keys[order[j - 1]] == keys[row] && order[j - 1] > row)); j--)
            order[j] = order[j - 1];
        order[j] = row;
    }
}

typedef struct room { /* what the scratch memory of a permutation holds */
    uint64_t *keys, *sorted;
    uint32_t *count, *rows, *start, *next;
} room;

static int large_bits(uint32_t n) { /* buckets of about SMALL / 2 rows, which stay below 2 SMALL but for a miracle */
    return log2_above(((uint64_t)n + SMALL / 2 - 1) / (SMALL / 2));
}

/* How many of each there are in the scratch memory of a permutation */
typedef struct lengths {
    size_t most, many, buckets, counts;
} lengths;
static lengths lengths_of(uint32_t n) {
    const size_t most = n <= SMALL ? n : 2 * SMALL;
    return (lengths){.most = most,
                     .many = n <= SMALL ? 0 : most,
                     .buckets = n <= SMALL ? 0 : ((size_t)1 << large_bits(n)) + 1,
                     .counts = 2 * most + 2};
}

static room room_of(uint32_t n, char *scratch) {
    const lengths l = lengths_of(n);
    room r;
    r.keys = (uint64_t *)scratch;
    r.sorted = r.keys + l.most;
    r.count = (uint32_t *)(r.sorted + l.most);
    r.rows = r.count + l.counts;
    r.start = r.rows + l.many;
    r.next = r.start + l.buckets;
    return r;
}

size_t nn_permutation_scratch(uint32_t n) {
    const lengths l = lengths_of(n);
    return 2 * l.most * sizeof(uint64_t) + (l.counts + l.many + 2 * l.buckets) * sizeof(uint32_t);
}

void nn_order_of_keys(const uint64_t *keys, uint32_t n, uint32_t *order, void *scratch) {
    const room r = room_of(n, scratch);
    if (n) sort_keys(keys, n, 0, order, r.sorted, r.count);
}

static void permute_large(nn_keys *k, uint32_t n, uint32_t *order, const room *r) {
    const nn_kernels *kernels = nn_kernels_for(NN_F32);
    const int bits = large_bits(n), shift = 64 - bits;
    const uint32_t buckets = 1u << bits;
    uint64_t keys[CHUNK];
    memset(r->start, 0, (buckets + (size_t)1) * sizeof *r->start);
    for (int pass = 0; pass < 2; pass++) { /* the keys are drawn again: cheaper than the memory to keep them */
        for (k->first = 0; k->first < n; k->first += CHUNK) {
            const uint32_t here = n - k->first < CHUNK ? (uint32_t)(n - k->first) : CHUNK;
            kernels->keys(k, here, keys);
            for (uint32_t i = 0; i < here; i++)
                if (pass == 0)
                    r->start[(keys[i] >> shift) + 1]++;
                else
                    order[r->next[keys[i] >> shift]++] = (uint32_t)k->first + i;
        }
        if (pass) break;
        for (uint32_t b = 0; b < buckets; b++) r->start[b + 1] += r->start[b];
        memcpy(r->next, r->start, buckets * sizeof *r->next);
    }
    for (uint32_t b = 0; b < buckets; b++) {
        uint32_t *bucket = order + r->start[b];
        const uint32_t rows = r->start[b + 1] - r->start[b];
        if (rows == 0) continue;
        k->indices = memcpy(r->rows, bucket, rows * sizeof *bucket);
        kernels->keys(k, rows, r->keys);
        sort_keys(r->keys, rows, bits, bucket, r->sorted, r->count);
        for (uint32_t i = 0; i < rows; i++) bucket[i] = r->rows[bucket[i]];
    }
}

void nn_permutation(uint64_t seed, uint64_t stream, uint32_t n, uint32_t *order, void *scratch) {
    const room r = room_of(n, scratch);
    nn_keys k = {.seed = seed, .stream = stream, .purpose = NN_PURPOSE_SHUFFLE};
    if (n > SMALL) {
        permute_large(&k, n, order, &r);
    } else if (n) {
        nn_kernels_for(NN_F32)->keys(&k, n, r.keys);
        sort_keys(r.keys, n, 0, order, r.sorted, r.count);
    }
}
