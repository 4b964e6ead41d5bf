/* A mix in the manner of embedded benchmarks: a linked list sorted and searched, a small integer matrix, a state machine that
   reads numbers, and a CRC over what they gave. */
#include <string.h>

#include "bench.h"

struct node {
  struct node *next;
  int16_t key, value;
};

enum { nodes = 200, side = 24 };
static struct node pool[nodes];
static int16_t left[side][side], right[side][side];
static int32_t product[side][side];
static char text[2048];

static uint16_t crc(uint16_t sum, uint32_t word) {
  for (int bit = 0; bit < 32; ++bit, word >>= 1) sum = (uint16_t)(((sum ^ word) & 1) != 0 ? sum >> 1 ^ 0xa001 : sum >> 1);
  return sum;
}

static struct node *merge(struct node *a, struct node *b) {
  struct node head = {0}, *end = &head;
  while (a != NULL && b != NULL) {
    struct node **from = a->key <= b->key ? &a : &b;
    end = end->next = *from;
    *from = (*from)->next;
  }
  end->next = a != NULL ? a : b;
  return head.next;
}

static struct node *sorted(struct node *list) {
  if (list == NULL || list->next == NULL) return list;
  struct node *slow = list, *fast = list->next;
  while (fast != NULL && fast->next != NULL) slow = slow->next, fast = fast->next->next;
  struct node *rest = slow->next;
  slow->next = NULL;
  return merge(sorted(list), sorted(rest));
}

static uint16_t list_work(uint16_t sum, int round) {
  for (int i = 0; i < nodes; ++i) {
    pool[i].key = (int16_t)((i * 7919 + round * 31) & 0x3ff);
    pool[i].value = (int16_t)i;
    pool[i].next = i + 1 < nodes ? &pool[i + 1] : NULL;
  }
  struct node *list = sorted(pool);
  for (int wanted = 0; wanted < 1024; wanted += 64) {
    struct node *at = list;
    while (at->next != NULL && at->key < wanted) at = at->next;
    sum = crc(sum, (uint32_t)at->value);
  }
  return sum;
}

static uint16_t matrix_work(uint16_t sum, int round) {
  for (int i = 0; i < side; ++i)
    for (int j = 0; j < side; ++j) left[i][j] = (int16_t)(i + j * round), right[i][j] = (int16_t)(i * round - j);
  for (int i = 0; i < side; ++i) {
    for (int j = 0; j < side; ++j) {
      int32_t cell = 0;
      for (int k = 0; k < side; ++k) cell += left[i][k] * right[k][j];
      product[i][j] = cell >> 2 & 0xfffff;
    }
  }
  for (int i = 0; i < side; ++i) sum = crc(sum, (uint32_t)product[i][side - 1 - i]);
  return sum;
}

/* Counts integers, fractions, numbers with exponents, and rubbish. */
static uint16_t state_work(uint16_t sum) {
  enum { start, integer, fraction, exponent, digits, bad } state = start;
  uint32_t seen[6] = {0};
  for (const char *at = text; *at != '\0'; ++at) {
    int digit = *at >= '0' && *at <= '9';
    if (*at == ',') {
      ++seen[state];
      state = start;
      continue;
    }
    switch (state) {
      case start: state = digit || *at == '-' ? integer : *at == '.' ? fraction : bad; break;
      case integer: state = digit ? integer : *at == '.' ? fraction : *at == 'e' ? exponent : bad; break;
      case fraction: state = digit ? fraction : *at == 'e' ? exponent : bad; break;
      case exponent: state = digit || *at == '-' ? digits : bad; break;
      case digits: state = digit ? digits : bad; break;
      case bad: break;
    }
  }
  for (int i = 0; i < 6; ++i) sum = crc(sum, seen[i]);
  return sum;
}

int main(void) {
  uint64_t seed = 5;
  for (unsigned i = 0; i + 1 < sizeof text; ++i) text[i] = "0123456789,,-.ex"[bench_random(&seed) >> 20 & 15];
  bench_begin();
  uint16_t sum = 0;
  for (int round = 0; round < 7000; ++round) {
    sum = list_work(sum, round);
    sum = matrix_work(sum, round);
    sum = state_work(sum);
    text[round % (sizeof text - 1)] ^= 1;
  }
  bench_end("core", sum);
}
