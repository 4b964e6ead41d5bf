// Counting mode: how often each block is entered.
#include "engine/soft/translate.hpp"

namespace nagaya::engine::soft {

/// At the entry that every way into a block leads to. Changes no flags; both temporaries are free there.
void Translator::emit_count() {
  const HostMem cell{temp1, -1, 1, 0};
  e_.mov_imm(temp1, reinterpret_cast<u64>(&block_->executed));
  e_.load(temp0, cell);
  e_.lea(temp0, {temp0, -1, 1, 1});
  e_.store(cell, temp0);
}

}  // namespace nagaya::engine::soft
