#include "cgroup/device_rules.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace nagaya::cgroup {
namespace {

constexpr std::size_t rules_limit = 4096;
constexpr i64 most_major = (1 << 12) - 1, most_minor = (1 << 20) - 1;  // linux/kdev_t.h

constexpr PlainRule always(char type, i64 major, i64 minor, u8 access = access_all) {
  return {true, type, major, minor, access, true};
}

// The nodes' numbers: Documentation/admin-guide/devices.txt.
constexpr PlainRule always_allowed[] = {
    always('c', any_number, any_number, access_mknod),
    always('b', any_number, any_number, access_mknod),
    always('c', 1, 3),             // null
    always('c', 1, 5),             // zero
    always('c', 1, 7),             // full
    always('c', 1, 8),             // random
    always('c', 1, 9),             // urandom
    always('c', 5, 0),             // tty
    always('c', 5, 1),             // console
    always('c', 5, 2),             // ptmx
    always('c', 136, any_number),  // pts
};

bool covers(i64 wide, i64 narrow) { return wide == any_number || wide == narrow; }
bool meets(i64 a, i64 b) { return covers(a, b) || covers(b, a); }

std::string numbers(char type, i64 major, i64 minor) {
  const auto text = [](i64 value) { return value == any_number ? std::string("*") : std::to_string(value); };
  return fmt::format("{} {}:{}", type, text(major), text(minor));
}

Result<PlainRule> check(const DeviceRule& rule) {
  PlainRule plain{.allow = rule.allow, .type = rule.type == 'u' ? 'c' : rule.type};
  if (plain.type != 'a' && plain.type != 'b' && plain.type != 'c')
    return fail(fmt::format("device rule of type '{}'", rule.type), "only a, b and c are devices");
  if (rule.major.value_or(-1) >= 0) plain.major = *rule.major;
  if (rule.minor.value_or(-1) >= 0) plain.minor = *rule.minor;
  if (plain.major > most_major || plain.minor > most_minor)
    return fail(fmt::format("device rule for {}", numbers(plain.type, plain.major, plain.minor)), "no such number");
  u8 access = 0;
  for (const char letter : rule.access) {
    const u8 bit = letter == 'r' ? access_read : letter == 'w' ? access_write : letter == 'm' ? access_mknod : 0;
    if (bit == 0) return fail(fmt::format("device rule with access '{}'", rule.access), "only letters of rwm");
    access |= bit;
  }
  if (access != 0) plain.access = access;
  return plain;
}

/// One rule of one type into the list.
Result<> enter(DeviceList& list, const PlainRule& rule, char type) {
  auto& exceptions = list.exceptions;
  if (rule.allow != list.allow) {
    auto [entry, fresh] = exceptions.try_emplace({type, rule.major, rule.minor});
    entry->second.access |= rule.access;
    entry->second.ours = (fresh || entry->second.ours) && rule.ours;
    return {};
  }
  for (auto it = exceptions.begin(); it != exceptions.end();) {
    const auto [other_type, major, minor] = it->first;
    if (other_type == type && covers(rule.major, major) && covers(rule.minor, minor)) {
      it->second.access &= static_cast<u8>(~rule.access);
    } else if (other_type == type && meets(rule.major, major) && meets(rule.minor, minor) &&
               (it->second.access & rule.access) != 0) {
      return fail(fmt::format("device rule for {}", numbers(type, rule.major, rule.minor)),
                  fmt::format("it takes a part out of the earlier rule for {}, which cgroup v1 cannot hold",
                              numbers(type, major, minor)),
                  "name the devices one by one, or use a host with cgroup v2");
    }
    it = it->second.access == 0 ? exceptions.erase(it) : std::next(it);
  }
  return {};
}

}  // namespace

std::string letters(u8 access) {
  std::string out;
  if ((access & access_read) != 0) out += 'r';
  if ((access & access_write) != 0) out += 'w';
  if ((access & access_mknod) != 0) out += 'm';
  return out;
}

Result<std::vector<PlainRule>> plain_rules(const std::vector<DeviceRule>& rules) {
  std::vector<PlainRule> out;
  if (rules.empty()) return out;
  if (rules.size() > rules_limit)
    return fail(fmt::format("{} device rules", rules.size()), fmt::format("more than {}", rules_limit));
  out.reserve(rules.size() + std::size(always_allowed));
  for (const auto& rule : rules) {
    TRY_ASSIGN(out.emplace_back(), check(rule));
  }
  if (!out.back().everything() || !out.back().allow)
    out.insert(out.end(), std::begin(always_allowed), std::end(always_allowed));
  return out;
}

bool allowed(const std::vector<PlainRule>& rules, char type, i64 major, i64 minor, u8 access) {
  for (auto rule = rules.rbegin(); rule != rules.rend() && access != 0; ++rule) {
    if ((rule->type != 'a' && rule->type != type) || !covers(rule->major, major) || !covers(rule->minor, minor))
      continue;
    if (!rule->allow && (rule->access & access) != 0) return false;
    if (rule->allow) access &= static_cast<u8>(~rule->access);
  }
  return access == 0;
}

Result<DeviceList> device_list(const std::vector<DeviceRule>& rules) {
  TRY_ASSIGN(const auto plain, plain_rules(rules));
  DeviceList list;
  for (const auto& rule : plain) {
    if (rule.everything()) {
      list = DeviceList{.allow = rule.allow};
      continue;
    }
    for (const char type : {'b', 'c'}) {
      if (rule.type == 'a' || rule.type == type) TRY(enter(list, rule, type));
    }
  }
  if (list.allow) return list;
  // v1 asks that one exception allows all of an access (security/device_cgroup.c, match_exception): narrow ones take
  // over what wide ones give, and those that give nothing more go.
  // Where "1:*" and "*:3" cross, "1:3" has both.
  const auto given = list.exceptions;
  for (const auto& [column, a] : given) {
    for (const auto& [row, b] : given) {
      const auto [type, major, any_minor] = column;
      const auto [other_type, any_major, minor] = row;
      const bool cross = type == other_type && any_minor == any_number && any_major == any_number &&
                         major != any_number && minor != any_number;
      if (cross) list.exceptions.try_emplace({type, major, minor}, 0, a.ours && b.ours);
    }
  }
  std::map<std::tuple<char, i64, i64>, DeviceList::Exception> needed;
  for (const auto& [key, exception] : list.exceptions) {
    const auto [type, major, minor] = key;
    u8 wide = 0;
    for (const auto& [other, by] : list.exceptions) {
      if (other != key && std::get<0>(other) == type && covers(std::get<1>(other), major) &&
          covers(std::get<2>(other), minor))
        wide |= by.access;
    }
    const bool by_another = std::any_of(list.exceptions.begin(), list.exceptions.end(), [&](const auto& other) {
      const auto& [t, ma, mi] = other.first;
      return other.first != key && t == type && covers(ma, major) && covers(mi, minor) &&
             ((exception.access | wide) & ~other.second.access) == 0;
    });
    if (!by_another) needed[key] = {static_cast<u8>(exception.access | wide), exception.ours};
  }
  list.exceptions = std::move(needed);
  return list;
}

Writes device_writes(const DeviceList& list) {
  Writes out;
  // Where the group above is limited itself, all of what it has is here already, and more cannot be had.
  out.push_back({.file = list.allow ? "devices.allow" : "devices.deny", .value = "a", .may_refuse = list.allow});
  for (const auto& [key, exception] : list.exceptions) {
    const auto [type, major, minor] = key;
    out.push_back({.file = list.allow ? "devices.deny" : "devices.allow",
                   .value = fmt::format("{} {}", numbers(type, major, minor), letters(exception.access)),
                   .may_refuse = exception.ours});
  }
  return out;
}

}  // namespace nagaya::cgroup
