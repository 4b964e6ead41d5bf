// nagaya-init: the first process of a guest. It loads the drivers of the disk, mounts it, and starts the disk's own init; or,
// when the RAM disk says so, the program of an OCI image.
#include <fcntl.h>
#include <unistd.h>

#include <vector>

#include "init/command_line.hpp"
#include "init/files.hpp"
#include "init/modules.hpp"
#include "init/report.hpp"
#include "init/root.hpp"
#include "init/service.hpp"

namespace {

using namespace nagaya;

constexpr const char* service_file = "/nagaya/init.json";

Result<> load_drivers(init::Modules& modules, bool service) {
  TRY(modules.read());
  for (const char* name : {"virtio_pci", "virtio_mmio", "virtio_blk"}) TRY(modules.load(name));
  if (!service) return {};  // udev on the disk does the rest
  for (const char* name : {"button", "evdev", "overlay", "af_packet"}) TRY(modules.load(name));
  return modules.load_for_devices();
}

Result<> start(int count, char** words, char** environment) {
  TRY(init::mount_basics());
  const bool service = ::access(service_file, F_OK) == 0;
  proto::InitConfig config;
  if (service) {
    TRY_ASSIGN(const std::string text, init::read_text(service_file));
    TRY_ASSIGN(config, proto::InitConfig::from_json(text));
  }
  init::Modules modules("/nagaya/modules");
  TRY(load_drivers(modules, service));
  TRY_ASSIGN(const std::string command_line, init::read_text("/proc/cmdline"));
  const init::RootOptions root = init::root_options(command_line);
  TRY(init::mount_root(root));
  const int agent = service ? ::open("/nagaya/agent", O_PATH | O_CLOEXEC) : -1;
  TRY(init::enter_root());
  if (service) {
    if (const std::string line = init::run_service(config, agent); !init::tell_status(line) && line.starts_with("error ")) return fail(line);
    return {};
  }
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
  if (auto done = start(count, words, environment); !done) {
    if (!init::tell_status("error 125 " + done.error().message() + "\n")) init::say(done.error().message());
  }
  init::power_off();
}
