#include "container/pid_file.hpp"

#include <fcntl.h>
#include <stdio.h>

#include "host/fd.hpp"

namespace nagaya::container {

Result<> write_pid_file(const std::string& path, pid_t pid) {
  if (path.empty()) return {};
  const std::string temporary = path + ".new";
  {
    TRY_ASSIGN(const host::Fd file, host::Fd::open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0644));
    TRY(host::write_all(file.get(), std::to_string(pid)));
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return fail_errno("cannot write pid file '" + path + "'");
  return {};
}

}  // namespace nagaya::container
