/* A program that does what is hard to run on a processor that is not the guest's own: code that it writes itself, faults that it
 * handles, single steps, instructions that tell about the processor, memory that changes its rights and is shared after fork, floating
 * point across signals. It checks all by itself and prints one line, "program: sum HEX", the same wherever it is right. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include <x86intrin.h>

static uint64_t sum = 14695981039346656037u;
static void add(uint64_t value) { sum = (sum ^ value) * 1099511628211u; }
static void check(int good, const char *what) {
  if (good) return;
  printf("program: %s\n", what);
  exit(1);
}

/* Long enough that whoever looks every few milliseconds finds a program that computes. */
static uint64_t compute(unsigned rounds) {
  uint64_t x = 88172645463325252u;
  double f = 1.0;
  for (unsigned i = 0; i < rounds * 100000u; ++i) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    f = f * 1.0000001 + (double)(x & 7);
  }
  return x ^ (uint64_t)f;
}

static sigjmp_buf back;
static volatile uintptr_t fault_address, fault_rip, fault_number, fault_error, steps;
static void on_fault(int number, siginfo_t *info, void *context) {
  const greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
  fault_number = number, fault_address = (uintptr_t)info->si_addr, fault_rip = regs[REG_RIP], fault_error = regs[REG_ERR];
  siglongjmp(back, 1);
}
static void on_step(int number, siginfo_t *info, void *context) {
  (void)number, (void)info, (void)context;
  ++steps;
}
static volatile sig_atomic_t alarms;
static void on_alarm(int number) {
  (void)number;
  volatile double x = 3.0;
  x = x / 7.0;
  ++alarms;
}

static void own_code(void) {
  unsigned char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check(code != MAP_FAILED, "no memory for code");
  for (uint32_t i = 0; i < 300; ++i) {
    code[0] = 0xb8; /* mov eax, i */
    memcpy(code + 1, &i, 4);
    code[5] = 0xc3;
    check(((uint32_t(*)(void))code)() == i, "code that was changed runs as it was");
    if (i % 60 == 0) add(compute(10));
  }
  /* The same page at two places: written here, executed there. */
  const int fd = memfd_create("code", 0);
  check(fd >= 0 && ftruncate(fd, 4096) == 0, "no file for code");
  unsigned char *writer = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  unsigned char *runner = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
  for (uint32_t i = 0; i < 100; ++i) {
    writer[0] = 0xb8, writer[5] = 0xc3;
    memcpy(writer + 1, &i, 4);
    __asm__ volatile("" ::: "memory");
    check(((uint32_t(*)(void))runner)() == i, "code that was changed elsewhere runs as it was");
    if (i % 20 == 0) add(compute(10));
  }
  munmap(code, 4096), munmap(writer, 4096), munmap(runner, 4096), close(fd);
}

static void faults(void) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGSEGV, &action, NULL), sigaction(SIGFPE, &action, NULL), sigaction(SIGILL, &action, NULL), sigaction(SIGBUS, &action, NULL);
  volatile char *page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  volatile int zero = 0;
  for (unsigned i = 0; i < 6; ++i) {
    add(compute(20));
    if (!sigsetjmp(back, 1)) page[i] = 1, check(0, "a store to read-only memory went through");
    check(fault_number == SIGSEGV && fault_address == (uintptr_t)page + i && (fault_error & 7) == (i ? 7 : fault_error & 7), "a store's fault is another");
    check(page[i] == 0, "read-only memory was changed");
    if (!sigsetjmp(back, 1)) (void)*(volatile char *)(0x123456789000u + i), check(0, "there is memory where there is none");
    check(fault_number == SIGSEGV && fault_address == 0x123456789000u + i, "a load's fault is another");
    if (!sigsetjmp(back, 1)) (void)*(volatile char *)0xffff888000000000u, check(0, "a program reads the kernel's memory");
    check(fault_number == SIGSEGV, "a fault of the kernel's half is another");
    if (!sigsetjmp(back, 1)) (void)*(volatile char *)0x8000000000000000u, check(0, "there is no canonical check");
    check(fault_number == SIGSEGV && fault_address == 0, "a fault of a wild address is another");
    if (!sigsetjmp(back, 1)) ((void (*)(void))page)(), check(0, "data is executed");
    check(fault_number == SIGSEGV && fault_address == (uintptr_t)page && fault_rip == (uintptr_t)page, "a jump to data faults elsewhere");
    if (!sigsetjmp(back, 1)) zero = 7 / zero, check(0, "a division by zero has a result");
    check(fault_number == SIGFPE, "a division's fault is another");
    if (!sigsetjmp(back, 1)) __builtin_trap();
    check(fault_number == SIGILL, "UD2 is another fault");
    if (!sigsetjmp(back, 1)) __asm__ volatile("hlt");
    check(fault_number == SIGSEGV, "HLT is another fault");
    add(fault_number);
  }
  munmap((void *)page, 8192);
}

static void single_steps(void) {
  struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};
  sigaction(SIGTRAP, &action, NULL);
  for (unsigned i = 0; i < 3; ++i) {
    add(compute(20));
    steps = 0;
    __asm__ volatile(
        "sub $128, %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\tnop\n\tnop\n\tnop\n\tpushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq\n\tadd $128, %%rsp" ::
            : "memory", "cc");
    add(steps);
    check(steps == 6, "another number of steps");
    steps = 0;
    __asm__ volatile("int3");
    check(steps == 1, "INT3 is no breakpoint");
  }
}

static void processor(void) {
  unsigned first[4], now[4];
  __cpuid_count(0, 0, first[0], first[1], first[2], first[3]);
  unsigned hypervisor[4];
  __cpuid_count(0x40000000, 0, hypervisor[0], hypervisor[1], hypervisor[2], hypervisor[3]);
  uint64_t before = __rdtsc();
  for (unsigned i = 0; i < 5; ++i) {
    add(compute(20));
    __cpuid_count(0, 0, now[0], now[1], now[2], now[3]);
    check(memcmp(first, now, sizeof now) == 0, "the processor has changed");
    __cpuid_count(0x40000000, 0, now[0], now[1], now[2], now[3]);
    check(memcmp(hypervisor, now, sizeof now) == 0, "the machine has changed");
    unsigned processors, index;
    const uint64_t time = __rdtscp(&index);
    check(time >= before && time - before < 1ull << 42, "time goes another way");
    before = time;
    processors = (unsigned)sysconf(_SC_NPROCESSORS_CONF);
    check((index & 0xfff) < processors, "this is no processor of the machine");
    unsigned cpu = 99, node = 99;
    check(syscall(SYS_getcpu, &cpu, &node, NULL) == 0 && cpu < processors, "this is no processor of the machine");
  }
}

static void memory(void) {
  enum { pages = 600 };
  unsigned char *at = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  static unsigned round; /* outlives siglongjmp */
  for (round = 0; round < 6; ++round) {
    for (unsigned i = 0; i < pages; ++i) at[i * 4096 + round] = (unsigned char)(i * 7 + round);
    add(compute(20));
    const pid_t child = fork();
    if (child == 0) {
      uint64_t seen = 0;
      for (unsigned i = 0; i < pages; ++i) seen += at[i * 4096 + round];
      for (unsigned i = 0; i < pages; ++i) at[i * 4096 + round] = 0xee;
      for (unsigned i = 0; i < pages; ++i) seen += at[i * 4096 + round];
      compute(20);
      _exit((int)(seen & 0x7f));
    }
    int status = 0;
    check(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status), "a child ended badly");
    add((uint64_t)WEXITSTATUS(status));
    for (unsigned i = 0; i < pages; ++i) check(at[i * 4096 + round] == (unsigned char)(i * 7 + round), "a child's store is seen by its parent");
    /* What was unmapped is gone, and new memory is empty. */
    check(munmap(at + 100 * 4096, 50 * 4096) == 0, "munmap");
    if (!sigsetjmp(back, 1)) at[120 * 4096] = 1, check(0, "what was unmapped is still there");
    check(fault_address == (uintptr_t)at + 120 * 4096, "a fault of unmapped memory is another");
    check(mmap(at + 100 * 4096, 50 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED, "mmap");
    for (unsigned i = 100; i < 150; ++i) check(at[i * 4096 + round] == 0, "new memory is not empty");
    check(mprotect(at + 200 * 4096, 4096, PROT_READ) == 0, "mprotect");
    if (!sigsetjmp(back, 1)) at[200 * 4096] = 1, check(0, "memory made read-only can be written");
    check(mprotect(at + 200 * 4096, 4096, PROT_READ | PROT_WRITE) == 0, "mprotect");
    at[200 * 4096] = (unsigned char)round;
  }
  munmap(at, pages * 4096);
}

static void interrupted(void) {
  signal(SIGALRM, on_alarm);
  const struct itimerval timer = {{0, 3000}, {0, 3000}}, none = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &timer, NULL);
  uint64_t first = compute(200), second;
  for (unsigned i = 0; alarms < 8; ++i) {
    second = compute(200);
    check(first == second, "a signal changes what is computed");
  }
  setitimer(ITIMER_REAL, &none, NULL);
  add(first);
}

int main(void) {
  add(compute(100));
  own_code();
  faults();
  single_steps();
  processor();
  memory();
  interrupted();
  printf("program: sum %016llx\n", (unsigned long long)sum);
  return 0;
}
