// What an engine shows of its translations while it runs and when it ends: perf's map, the log.
#pragma once
#include <memory>

#include "engine/soft/perf_map.hpp"
#include "engine/soft/soft_engine.hpp"
#include "engine/soft/translation_log.hpp"

namespace nagaya::engine::soft {

class Observer {
 public:
  /// Opens the files that `options` ask for. Null when they ask for none.
  static Result<std::unique_ptr<Observer>> create(const SoftOptions& options, const CodeCache& cache);

  void made(const Block& block, const CodeSource& source, u64 rip);
  /// Before a segment of the code cache is emptied.
  void forget(const std::vector<Block*>& blocks) { log_.forget(blocks); }
  /// Writes the log. `statistics` stand at its head.
  void end(const std::string& statistics);

 private:
  Observer(bool counted, const CodeCache& cache) : counted_(counted), log_(cache.trampoline(thunk_lookup)) {}
  const bool counted_;
  std::unique_ptr<PerfMap> perf_map_;
  host::Fd log_file_;
  TranslationLog log_;
};

}  // namespace nagaya::engine::soft
