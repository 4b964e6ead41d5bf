/* Compression: matches found through a table of hashes (as LZ77 does), their bytes coded by lengths from a Huffman tree, and
   the matches expanded again to see that nothing was lost. */
#include <string.h>

#include "bench.h"

enum { size = 1 << 20, hashes = 1 << 14 };
static uint8_t text[size + 8], packed[2 * size], back[size + 512];
static uint32_t last[hashes];

static uint32_t hash(const uint8_t *at) {
  uint32_t word;
  memcpy(&word, at, 4);
  return word * 2654435761u >> 18;
}

/* A byte below 128: that many literals + 1 follow. Else: a match of its low bits + 4 bytes, distance in the next three. */
static size_t pack(void) {
  uint8_t *out = packed, *count = NULL;
  memset(last, 0, sizeof last);
  for (uint32_t at = 0; at < size;) {
    uint32_t slot = hash(text + at), from = last[slot], length = 0;
    last[slot] = at;
    if (from < at) while (length < 131 && at + length < size && text[from + length] == text[at + length]) ++length;
    if (length >= 5) {
      *out++ = (uint8_t)(128 + length - 4);
      for (int shift = 0; shift < 24; shift += 8) *out++ = (uint8_t)((at - from) >> shift);
      at += length;
      count = NULL;
    } else {
      if (count == NULL || *count == 127) *(count = out++) = 0; else ++*count;
      *out++ = text[at++];
    }
  }
  return (size_t)(out - packed);
}

static size_t unpack(size_t length) {
  uint8_t *out = back;
  for (const uint8_t *in = packed, *end = packed + length; in < end;) {
    if (*in < 128) {
      unsigned n = *in++ + 1u;
      while (n-- > 0) *out++ = *in++;
    } else {
      unsigned n = *in - 128u + 4u;
      const uint8_t *from = out - (in[1] | in[2] << 8 | (uint32_t)in[3] << 16);
      in += 4;
      while (n-- > 0) *out++ = *from++;
    }
  }
  return (size_t)(out - back);
}

/* The bits that Huffman's code needs: joins the two rarest trees until one is left; each join costs its weight. */
static uint64_t coded_bits(size_t length) {
  uint64_t weight[256] = {0}, bits = 0;
  for (size_t i = 0; i < length; ++i) ++weight[packed[i]];
  for (;;) {
    int least = -1, second = -1;
    for (int i = 0; i < 256; ++i) {
      if (weight[i] == 0) continue;
      if (least < 0 || weight[i] < weight[least]) second = least, least = i;
      else if (second < 0 || weight[i] < weight[second]) second = i;
    }
    if (second < 0) return bits;
    weight[second] += weight[least];
    weight[least] = 0;
    bits += weight[second];
  }
}

int main(void) {
  uint64_t seed = 11, sum = 0;
  for (int i = 0; i < size;) {  /* "words" of a small vocabulary */
    uint64_t word = (bench_random(&seed) >> 11) % 700;
    word *= word;
    for (unsigned n = 0; n < 3 + word % 7 && i < size; ++n) text[i++] = (uint8_t)('a' + (word >> n) % 26);
    if (i < size) text[i++] = ' ';
  }
  bench_begin();
  for (int round = 0; round < 16; ++round) {
    text[round * 1000] ^= 1;
    size_t length = pack();
    if (unpack(length) != size || memcmp(text, back, size) != 0) return 1;
    sum = sum * 31 + length + coded_bits(length);
  }
  bench_end("compress", sum);
}
