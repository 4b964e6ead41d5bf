// A seccomp program as a decision by number: sorted intervals become a balanced tree of comparisons, so that a long profile costs a
// container few instructions per system call. Source: Linux Documentation/networking/filter.rst, userspace-api/seccomp_filter.rst.
#pragma once
#include <linux/filter.h>

#include <map>
#include <vector>

#include "base/types.hpp"
#include "container/spec/spec.hpp"

namespace nagaya::container {

enum class Comparison { ne, lt, le, eq, ge, gt, masked_eq };

struct Condition {
  u32 index = 0;  ///< of the argument
  Comparison op{};
  u64 value = 0, second = 0;  ///< masked_eq: argument & value == second
};

struct Case {
  std::vector<Condition> conditions;  ///< all must hold
  u32 verdict = 0;                    ///< SECCOMP_RET_*
};

/// What happens to one system call: the first case that holds, else the default. A case without conditions is the only one that counts.
using Cases = std::vector<Case>;

/// All system calls of one architecture (or of x32).
struct CallTable {
  std::map<u32, Cases> calls;
  u32 fallback = 0;         ///< the verdict on other calls
  u32 unknown_from = ~0u;   ///< numbers from here on that are not in `calls` …
  u32 unknown_verdict = 0;  ///< … get this
  u32 number_offset = 0;    ///< added to numbers: x32's bit
  bool narrow = false;      ///< only the low 32 bits of arguments count

  /// Adds a case as the profile's next.
  void add(u32 number, Case one);
};

using Program = std::vector<sock_filter>;

/// The decision for system calls of one table, the number being in the accumulator already. Ends in a verdict on every way.
Program decide(const CallTable& table);
/// Where `test` (a BPF jump with its operand) holds, `yes`, else `no`; both end in verdicts.
Program branch(u16 test, u32 operand, Program yes, const Program& no);
Program load(u32 offset);
Program verdict(u32 value);

}  // namespace nagaya::container
