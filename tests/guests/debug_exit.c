/* Says hello and ends with the debug exit of "value=N"; nothing when "quiet=1". */
#include "guest.h"

u32 guest_main(u32 magic, const struct multiboot_info *info) {
  if (magic != 0x2badb002) return 0x7f;
  if (!option(info, "quiet", 0)) print("hello from a small guest\n");
  return option(info, "value", 0);
}
