/* random.c: random streams that need no state: Philox4x32-10 and the order of an epoch.
 *
 * J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The counter is
 * (block low, block high, stream low, purpose | stream high << 8), the key is the 64-bit seed; element i of a stream of
 * 64-bit keys is words 2 (i mod 2) and 2 (i mod 2) + 1 of block i / 2. src/nncore/streams.py draws the same numbers.
 *
 * A shuffle is the order of the rows' keys, ties by row: uniform over all permutations but for ties of 64-bit keys.
 * Keys are uniform, so one pass by their leading bits leaves buckets of a few rows, which insertion sorts. Large
 * permutations first go through buckets of row numbers alone, so that scratch stays small whatever the number of rows.
 */
#include <string.h>

#include "nncore.h"

void nn_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        const uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* keys 2 b and 2 b + 1 of a stream */
static void key_pair(uint64_t seed, uint32_t purpose, uint64_t stream, uint64_t block, uint64_t pair[2]) {
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)stream,
                                 purpose | (uint32_t)(stream >> 32) << 8};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t out[4];
    nn_philox(counter, key, out);
    pair[0] = out[0] | (uint64_t)out[1] << 32;
    pair[1] = out[2] | (uint64_t)out[3] << 32;
}

uint64_t nn_key(uint64_t seed, uint32_t purpose, uint64_t stream, uint64_t index) {
    uint64_t pair[2];
    key_pair(seed, purpose, stream, index / 2, pair);
    return pair[index % 2];
}

typedef struct keyed {
    uint64_t key;
    uint32_t row;
} keyed;

enum { SMALL = 1 << 14 };

static int log2_above(uint64_t n) { /* smallest b with 2^b >= n */
    int b = 0;
    while (((uint64_t)1 << b) < n) b++;
    return b;
}

/* Sorts n <= 2 SMALL pairs by (key, row) and writes their rows. The bits of the key above `shift + bits` are equal. */
static void sort_small(keyed *in, uint32_t n, int top, uint32_t *order, keyed *out, uint32_t *count) {
    const int bits = log2_above(n) > 1 ? log2_above(n) - 1 : 1, shift = 64 - top - bits;
    const uint32_t buckets = 1u << bits, mask = buckets - 1;
    memset(count, 0, (buckets + 1) * sizeof *count);
    for (uint32_t i = 0; i < n; i++) count[((in[i].key >> shift) & mask) + 1]++;
    for (uint32_t b = 0; b < buckets; b++) count[b + 1] += count[b];
    for (uint32_t i = 0; i < n; i++) out[count[(in[i].key >> shift) & mask]++] = in[i];
    /* insertion over the whole array: no pair is further from its place than its bucket is long */
    for (uint32_t i = 1; i < n; i++) {
        const keyed x = out[i];
        uint32_t j = i;
        for (; j && (out[j - 1].key > x.key || (out[j - 1].key == x.key && out[j - 1].row > x.row)); j--)
            out[j] = out[j - 1];
        out[j] = x;
    }
    for (uint32_t i = 0; i < n; i++) order[i] = out[i].row;
}

static int large_bits(uint32_t n) { /* buckets of about SMALL / 2 rows, which stay below 2 SMALL but for a miracle */
    return log2_above((n + SMALL / 2 - 1) / (SMALL / 2));
}

size_t nn_permutation_scratch(uint32_t n) {
    const uint32_t most = n <= SMALL ? n : 2 * SMALL;
    size_t bytes = 2 * most * sizeof(keyed) + (2 * most + 2) * sizeof(uint32_t);
    if (n > SMALL) bytes += (((size_t)1 << large_bits(n)) + 1) * 2 * sizeof(uint32_t);
    return bytes;
}

void nn_permutation(uint64_t seed, uint64_t stream, uint32_t n, uint32_t *order, void *scratch) {
    const uint32_t most = n <= SMALL ? n : 2 * SMALL;
    keyed *in = scratch, *out = in + most;
    uint32_t *count = (uint32_t *)(out + most);
    uint64_t pair[2];
    if (n <= SMALL) {
        for (uint32_t i = 0; i < n; i += 2) {
            key_pair(seed, NN_PURPOSE_SHUFFLE, stream, i / 2, pair);
            in[i] = (keyed){pair[0], i};
            if (i + 1 < n) in[i + 1] = (keyed){pair[1], i + 1};
        }
        if (n) sort_small(in, n, 0, order, out, count);
        return;
    }
    const int bits = large_bits(n);
    const uint32_t buckets = 1u << bits;
    uint32_t *start = count + 2 * most + 2, *next = start + buckets + 1;
    memset(start, 0, (buckets + 1) * sizeof *start);
    for (uint32_t i = 0; i < n; i += 2) {
        key_pair(seed, NN_PURPOSE_SHUFFLE, stream, i / 2, pair);
        start[(pair[0] >> (64 - bits)) + 1]++;
        if (i + 1 < n) start[(pair[1] >> (64 - bits)) + 1]++;
        if (i >= UINT32_MAX - 2) break;
    }
    for (uint32_t b = 0; b < buckets; b++) start[b + 1] += start[b];
    memcpy(next, start, (buckets + 1) * sizeof *start);
    for (uint32_t i = 0; i < n; i += 2) {
        key_pair(seed, NN_PURPOSE_SHUFFLE, stream, i / 2, pair);
        order[next[pair[0] >> (64 - bits)]++] = i;
        if (i + 1 < n) order[next[pair[1] >> (64 - bits)]++] = i + 1;
        if (i >= UINT32_MAX - 2) break;
    }
    for (uint32_t b = 0; b < buckets; b++) { /* the keys are drawn again: cheaper than the memory to keep them */
        const uint32_t first = start[b], rows = start[b + 1] - first;
        for (uint32_t i = 0; i < rows; i++)
            in[i] = (keyed){nn_key(seed, NN_PURPOSE_SHUFFLE, stream, order[first + i]), order[first + i]};
        if (rows) sort_small(in, rows, bits, order + first, out, count);
    }
}
