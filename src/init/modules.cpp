#include "init/modules.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "init/files.hpp"

namespace nagaya::init {

ModuleList parse_module_list(std::string_view text) {
  ModuleList out;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    std::vector<std::string> words;
    for (std::size_t at = 0; at < line.size();) {
      const std::size_t end = std::min(line.find(' ', at), line.size());
      if (end != at) words.emplace_back(line.substr(at, end - at));
      at = end + 1;
    }
    if (!words.empty()) out[words[0]] = {words.begin() + 1, words.end()};
  }
  return out;
}

std::string_view module_of_virtio(unsigned device) {
  switch (device) {
    case 1: return "virtio_net";
    case 2: return "virtio_blk";
    case 3: return "virtio_console";
    case 4: return "virtio_rng";
    case 5: return "virtio_balloon";
    case 19: return "vmw_vsock_virtio_transport";
    case 26: return "virtiofs";
    case 27: return "virtio_pmem";
    default: return {};
  }
}

Result<> Modules::read() {
  if (::access((folder_ + "/list").c_str(), F_OK) != 0) return {};
  TRY_ASSIGN(const std::string text, read_text(folder_ + "/list"));
  list_ = parse_module_list(text);
  return {};
}

Result<> Modules::load(std::string_view name) {
  const auto it = list_.find(name);
  if (it == list_.end()) return {};
  for (const std::string& file : it->second) {
    if (!loaded_.insert(file).second) continue;
    const std::string path = folder_ + "/" + file;
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail_errno("cannot open module " + path);
    const bool done = ::syscall(SYS_finit_module, fd, "", 0) == 0 || errno == EEXIST;
    const int code = errno;
    ::close(fd);
    if (!done) return fail_errno("cannot load module " + file, code);
  }
  return {};
}

Result<> Modules::load_for_devices() {
  const std::string root = "/sys/bus/virtio/devices";
  DIR* folder = ::opendir(root.c_str());
  if (folder == nullptr) return {};
  Result<> done;
  while (const dirent* entry = ::readdir(folder)) {
    if (entry->d_name[0] == '.') continue;
    // "0x0001"
    if (auto text = read_text(root + "/" + entry->d_name + "/device")) {
      if (auto loaded = load(module_of_virtio(static_cast<unsigned>(std::strtoul(text->c_str(), nullptr, 16)))); !loaded) done = loaded;
    }
  }
  ::closedir(folder);
  return done;
}

}  // namespace nagaya::init
