#include "engine/soft/observe.hpp"

#include <fcntl.h>

#include "base/log.hpp"

namespace nagaya::engine::soft {
namespace {

constexpr std::size_t most_blocks = 1000;

}  // namespace

Result<std::unique_ptr<Observer>> Observer::create(const SoftOptions& options, const CodeCache& cache) {
  if (!options.perf_map && options.log_file.empty()) return nullptr;
  std::unique_ptr<Observer> out(new Observer(options.count_blocks, cache));
  if (options.perf_map) {
    TRY_ASSIGN(out->perf_map_, PerfMap::create());
  }
  if (!options.log_file.empty()) {
    TRY_ASSIGN(out->log_file_, host::Fd::open(options.log_file, O_WRONLY | O_CREAT | O_TRUNC));
  }
  return out;
}

void Observer::made(const Block& block, const CodeSource& source, u64 rip) {
  if (perf_map_) perf_map_->add(block, rip);
  if (log_file_) log_.add(block, source, rip);
}

void Observer::end(const std::string& statistics) {
  if (!log_file_) return;
  if (auto done = host::write_all(log_file_.get(), statistics + "\n" + log_.text(most_blocks, counted_)); !done)
    log::warning("engine log: {}", done.error().message());
}

}  // namespace nagaya::engine::soft
