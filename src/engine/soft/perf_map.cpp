#include "engine/soft/perf_map.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "engine/soft/block_name.hpp"

namespace nagaya::engine::soft {

std::string PerfMap::path() { return fmt::format("/tmp/perf-{}.map", getpid()); }

Result<std::unique_ptr<PerfMap>> PerfMap::create() {
  // Anyone may have put something there; perf wants a file of the same user.
  (void)unlink(path().c_str());
  TRY_ASSIGN(host::Fd file, host::Fd::open(path(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_APPEND, 0600));
  return std::unique_ptr<PerfMap>(new PerfMap(std::move(file)));
}

void PerfMap::add(const Block& block, u64 rip) {
  (void)host::write_all(file_.get(), fmt::format("{:x} {:x} {}\n", reinterpret_cast<u64>(block.code), block.code_size,
                                                 block_name(Mode{block.key}, block.gpa, rip)));
}

}  // namespace nagaya::engine::soft
