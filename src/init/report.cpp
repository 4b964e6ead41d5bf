#include "init/report.hpp"

#include <sys/reboot.h>
#include <unistd.h>

namespace nagaya::init {

void say(const std::string& text) {
  const std::string line = "nagaya-init: " + text + "\r\n";
  (void)!::write(STDERR_FILENO, line.data(), line.size());
}

void power_off() {
  ::sync();
  ::reboot(RB_POWER_OFF);
  for (;;) ::pause();
}

}  // namespace nagaya::init
