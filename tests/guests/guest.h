/* What small test guests share: ports, serial output, the command line. Freestanding C, 32-bit. */
#pragma once
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/* The parts of the multiboot information that are used here (Multiboot Specification 0.6.96, 3.3). */
struct multiboot_info {
  u32 flags, mem_lower, mem_upper, boot_device, command_line, modules_count, modules;
};

static inline void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static inline void out16(u16 port, u16 value) { __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port)); }
static inline void out32(u16 port, u32 value) { __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port)); }
static inline u8 in8(u16 port) {
  u8 value;
  __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
static inline u16 in16(u16 port) {
  u16 value;
  __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
static inline u32 in32(u16 port) {
  u32 value;
  __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

enum { com1 = 0x3f8 };

static inline void put(char c) {
  while ((in8(com1 + 5) & 0x20) == 0) {
  }
  out8(com1, (u8)c);
}
static inline void print(const char *text) {
  while (*text) put(*text++);
}
static inline void print_number(u32 value) {
  char digits[11];
  int at = 10;
  digits[at] = 0;
  do digits[--at] = (char)('0' + value % 10);
  while (value /= 10);
  print(digits + at);
}

/* The number after "name=" on the command line, or otherwise. */
static inline u32 option(const struct multiboot_info *info, const char *name, u32 otherwise) {
  if ((info->flags & 4) == 0) return otherwise;
  for (const char *at = (const char *)info->command_line; *at; ++at) {
    int i = 0;
    while (name[i] && at[i] == name[i]) ++i;
    if (name[i] || at[i] != '=') continue;
    u32 value = 0;
    for (at += i + 1; *at >= '0' && *at <= '9'; ++at) value = value * 10 + (u32)(*at - '0');
    return value;
  }
  return otherwise;
}

/* The next of a sequence that depends on the seed only (xorshift32). */
static inline u32 next_random(u32 *state) {
  u32 x = *state ? *state : 1;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return *state = x;
}
