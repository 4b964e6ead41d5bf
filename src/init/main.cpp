// nagaya-init: the first process of a guest. It loads the drivers of the disk, mounts it, and starts the disk's own init.
#include <unistd.h>

#include <vector>

#include "init/command_line.hpp"
#include "init/files.hpp"
#include "init/modules.hpp"
#include "init/report.hpp"
#include "init/root.hpp"

namespace {

using namespace nagaya;

Result<> start(int count, char** words, char** environment) {
  TRY(init::mount_basics());
  init::Modules modules("/nagaya/modules");
  TRY(modules.read());
  for (const char* name : {"virtio_pci", "virtio_mmio", "virtio_blk"}) TRY(modules.load(name));
  TRY_ASSIGN(const std::string command_line, init::read_text("/proc/cmdline"));
  const init::RootOptions root = init::root_options(command_line);
  TRY(init::mount_root(root));
  TRY(init::enter_root());
  std::vector<char*> argv(words, words + count + 1);
  argv[0] = const_cast<char*>(root.program.c_str());
  ::execve(root.program.c_str(), argv.data(), environment);
  return fail_errno("cannot start " + root.program);
}

}  // namespace

int main(int count, char** words, char** environment) {
  if (::getpid() != 1) {
    init::say("it is the first process of a guest, and of no use elsewhere");
    return 2;
  }
  if (auto done = start(count, words, environment); !done) init::say(done.error().message());
  init::power_off();
}
