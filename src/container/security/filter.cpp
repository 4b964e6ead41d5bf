#include "container/security/filter.hpp"

#include <linux/seccomp.h>

#include <cstddef>
#include <span>

namespace nagaya::container {
namespace {

sock_filter statement(u16 code, u32 k) { return {code, 0, 0, k}; }
constexpr u16 load_word = BPF_LD | BPF_W | BPF_ABS, jump_always = BPF_JMP | BPF_JA;
constexpr u16 if_equal = BPF_JMP | BPF_JEQ | BPF_K, if_above = BPF_JMP | BPF_JGT | BPF_K, if_at_least = BPF_JMP | BPF_JGE | BPF_K;

void append(Program& out, const Program& more) { out.insert(out.end(), more.begin(), more.end()); }

/// A test whose way is written with these, until it is known how far they are.
enum Aim : u8 { next = 0, holds = 254, fails = 255 };

/// Instructions of one condition; the way out is `holds` (falls through at the end) or `fails`.
Program test_of(const Condition& condition, bool narrow) {
  const u32 low_at = static_cast<u32>(offsetof(seccomp_data, args)) + condition.index * sizeof(u64), high_at = low_at + sizeof(u32);
  const auto low = [](u64 value) { return static_cast<u32>(value); };
  const auto high = [](u64 value) { return static_cast<u32>(value >> 32); };
  Program out;
  const auto load_part = [&](u32 at) { out.push_back(statement(load_word, at)); };
  const auto mask = [&](u32 bits) { out.push_back(statement(BPF_ALU | BPF_AND | BPF_K, bits)); };
  const auto jump = [&](u16 code, u32 k, u8 yes, u8 no) { out.push_back({code, yes, no, k}); };
  const u64 value = condition.value;
  switch (condition.op) {
    case Comparison::eq:
    case Comparison::ne: {
      const bool equal = condition.op == Comparison::eq;
      const u8 different = equal ? fails : holds;
      if (!narrow) {
        load_part(high_at);
        jump(if_equal, high(value), next, different);
      }
      load_part(low_at);
      jump(if_equal, low(value), equal ? holds : fails, different);
      break;
    }
    case Comparison::masked_eq:
      if (!narrow) {
        load_part(high_at);
        mask(high(value));
        jump(if_equal, high(condition.second), next, fails);
      }
      load_part(low_at);
      mask(low(value));
      jump(if_equal, low(condition.second), holds, fails);
      break;
    default: {
      const bool above = condition.op == Comparison::ge || condition.op == Comparison::gt;
      const bool touching = condition.op == Comparison::ge || condition.op == Comparison::lt;  // the low halves' test is "at least"
      const u8 greater = above ? holds : fails, smaller = above ? fails : holds;
      if (!narrow) {
        load_part(high_at);
        jump(if_above, high(value), greater, next);
        jump(if_equal, high(value), next, smaller);
      }
      load_part(low_at);
      jump(touching ? if_at_least : if_above, low(value), greater, smaller);
    }
  }
  return out;
}

/// One case: its conditions one after the other, then its verdict; a condition that fails leads behind it.
Program code_of(const Case& one, bool narrow) {
  std::vector<Program> tests;
  std::size_t total = 1;  // the verdict
  for (const Condition& condition : one.conditions) {
    tests.push_back(test_of(condition, narrow));
    total += tests.back().size();
  }
  Program out;
  for (const Program& test : tests) {
    const std::size_t end = out.size() + test.size();
    for (sock_filter instruction : test) {
      const std::size_t after = out.size() + 1;
      const auto distance = [&](u8 aim) { return static_cast<u8>(aim == holds ? end - after : aim == fails ? total - after : aim); };
      if (BPF_CLASS(instruction.code) == BPF_JMP) {
        instruction.jt = distance(instruction.jt);
        instruction.jf = distance(instruction.jf);
      }
      out.push_back(instruction);
    }
  }
  append(out, verdict(one.verdict));
  return out;
}

Program code_of(const Cases& cases, u32 fallback, bool narrow) {
  Program out;
  for (const Case& one : cases) append(out, code_of(one, narrow));
  if (cases.empty() || !cases.back().conditions.empty()) append(out, verdict(fallback));
  return out;
}

/// From `first` up to the next one's `first`.
struct Interval {
  u32 first;
  Program code;
};

bool same(const Program& a, const Program& b) {
  return a.size() == 1 && b.size() == 1 && a[0].code == b[0].code && a[0].k == b[0].k;
}

Program tree(std::span<Interval> intervals) {
  if (intervals.size() == 1) return std::move(intervals[0].code);
  const std::size_t middle = intervals.size() / 2;
  const u32 first = intervals[middle].first;
  return branch(if_at_least, first, tree(intervals.subspan(middle)), tree(intervals.first(middle)));
}

}  // namespace

void CallTable::add(u32 number, Case one) {
  Cases& cases = calls[number];
  if (!cases.empty() && cases.front().conditions.empty()) return;
  if (one.conditions.empty()) cases.clear();
  cases.push_back(std::move(one));
}

Program load(u32 offset) { return {statement(load_word, offset)}; }
Program verdict(u32 value) { return {statement(BPF_RET | BPF_K, value)}; }

Program branch(u16 test, u32 operand, Program yes, const Program& no) {
  Program out;
  if (no.size() <= 255) {
    out.push_back({test, static_cast<u8>(no.size()), 0, operand});
  } else {
    // Conditional jumps reach 255 instructions, the unconditional one all.
    out.push_back({test, 0, 1, operand});
    out.push_back(statement(jump_always, static_cast<u32>(no.size())));
  }
  append(out, no);
  append(out, yes);
  return out;
}

Program decide(const CallTable& table) {
  std::vector<Interval> intervals;
  const auto add = [&](u32 first, Program code) {
    if (!intervals.empty() && intervals.back().first == first) intervals.pop_back();
    if (intervals.empty() || !same(intervals.back().code, code)) intervals.push_back({first, std::move(code)});
  };
  const auto outside = [&](u32 number) { return verdict(number >= table.unknown_from ? table.unknown_verdict : table.fallback); };
  add(0, outside(0));
  bool passed = false;  // `unknown_from`
  const auto pass = [&](u32 upto) {
    if (passed || table.unknown_from > upto) return;
    passed = true;
    add(table.unknown_from + table.number_offset, verdict(table.unknown_verdict));
  };
  for (const auto& [number, cases] : table.calls) {
    if (number > 0) pass(number - 1);
    add(number + table.number_offset, code_of(cases, table.fallback, table.narrow));
    if (number + 1 == table.unknown_from) passed = true;
    add(number + 1 + table.number_offset, outside(number + 1));
  }
  pass(~0u - table.number_offset);
  return tree(intervals);
}

}  // namespace nagaya::container
