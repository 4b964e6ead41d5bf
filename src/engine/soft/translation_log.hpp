// A log of translation that people can read: for each block the guest's instructions beside the host's that they became.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "engine/soft/code_cache.hpp"
#include "engine/soft/translate.hpp"

namespace nagaya::engine::soft {

class TranslationLog {
 public:
  /// Right after translation: the guest's bytes may change later.
  void add(const Block& block, const CodeSource& source, u64 rip);
  explicit TranslationLog(const u8* trampolines) : trampolines_(trampolines) {}
  /// A segment of the code cache, whose blocks these are, is about to be emptied.
  void forget(const std::vector<Block*>& blocks);
  /// The blocks that are in the cache, at most `most`. With counts those come first that were entered most often, else in
  /// the order of their code. Reads the code cache: no vCPU may be inside.
  [[nodiscard]] std::string text(std::size_t most, bool counted);

 private:
  struct Entry {
    const Block* block;
    u64 rip;
    u32 first;               ///< offset in its page of bytes[0]
    std::vector<u8> bytes;   ///< the guest's, across the page end
    std::vector<u32> insns;  ///< offsets of its instructions in the page, ascending
  };
  static u64 code_of(const Entry& entry) { return reinterpret_cast<u64>(entry.block->code); }
  void append(std::string& out, const Entry& entry, u64 total) const;
  /// The host instruction at offset `at`; `next`: where the one behind it is.
  std::string host_line(const Block& block, u32 at, u32& next) const;
  /// The block at a host address, or empty.
  [[nodiscard]] std::string target_name(u64 pc) const;

  [[nodiscard]] std::optional<Thunk> thunk_of(u64 pc) const;

  const u8* trampolines_;
  std::vector<Entry> entries_;
};

}  // namespace nagaya::engine::soft
