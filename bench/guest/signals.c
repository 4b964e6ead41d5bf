/* Signals: sent to oneself and handled, and faults that a handler mends. */
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

static volatile uint64_t handled;
static unsigned char *page;

static void count(int number) { handled += (uint64_t)number; }

static void mend(int number) {
  handled += (uint64_t)number;
  mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

int main(void) {
  page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return 1;
  signal(SIGUSR1, count);
  signal(SIGSEGV, mend);
  bench_begin();
  for (int i = 0; i < 30000; ++i) {
    raise(SIGUSR1);
    if (i % 8 != 0) continue;
    mprotect(page, 4096, PROT_READ);
    *(volatile unsigned char *)page = 1;
  }
  bench_end("signals", handled);
}
