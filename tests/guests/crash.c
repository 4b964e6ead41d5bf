/* Ends badly: "how=0" triple fault, 1 reset through the keyboard controller, 2 reset through port CF9h, 3 jump to where no
   memory is, 4 ACPI power-off through PM1a control (SLP_TYP 5, SLP_EN). */
#include "guest.h"

u32 guest_main(u32 magic, const struct multiboot_info *info) {
  (void)magic;
  static const struct {
    u16 limit;
    u32 base;
  } __attribute__((packed)) no_table = {0, 0};
  print("started\n");
  switch (option(info, "how", 0)) {
    case 0: __asm__ volatile("lidt %0; ud2" ::"m"(no_table)); break;
    case 1: out8(0x64, 0xfe); break;
    case 2: out8(0xcf9, 0x06); break;
    case 3: __asm__ volatile("lidt %0; jmp *%1" ::"m"(no_table), "r"(0xd0000000u)); break;
    case 4: out16(0x604, 5 << 10 | 1 << 13); break;
  }
  for (;;) __asm__ volatile("hlt");
}
