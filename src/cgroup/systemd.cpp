#include "cgroup/systemd.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "cgroup/convert.hpp"
#include "cgroup/device_rules.hpp"
#include "cgroup/file.hpp"
#include "cgroup/making.hpp"
#include "host/process.hpp"

namespace nagaya::cgroup {
namespace {

using Words = std::vector<std::string>;

bool of_user() { return ::geteuid() != 0; }

bool is_unit_name(std::string_view name) {
  return !name.empty() && name.size() < 256 && name.front() != '-' &&
         std::all_of(
             name.begin(), name.end(),
             [](unsigned char c) {
               return std::isalnum(c) != 0 ||
                      std::string_view(":-_.\\@").find(static_cast<char>(c)) != std::string_view::npos;
             });
}

/// Runs busctl; the error has what it said.
Result<> bus(Words words) {
  TRY_ASSIGN(auto pipe, host::Fd::pipe());
  TRY_ASSIGN(const host::Fd null, host::Fd::open("/dev/null", O_RDWR));
  host::SpawnOptions options{.program = "busctl"};
  if (of_user()) options.args.emplace_back("--user");
  options.args.insert(options.args.end(), {"--quiet", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                           "org.freedesktop.systemd1.Manager"});
  options.args.insert(options.args.end(), std::make_move_iterator(words.begin()), std::make_move_iterator(words.end()));
  options.fds = {{null.get(), 0}, {null.get(), 1}, {pipe.second.get(), 2}};
  auto child = host::Process::spawn(options);
  if (!child)
    return std::unexpected(std::move(child).error().within("systemd's bus is reached through its program busctl"));
  pipe.second.reset();
  auto said = host::read_all(pipe.first.get(), 64 * KiB, "busctl");
  TRY_ASSIGN(const auto status, child->wait());
  if (status.shell_status() == 0) return {};
  std::string text = said ? std::string(said->begin(), said->end()) : std::string();
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return fail("systemd refuses", text.empty() ? fmt::format("busctl ended with {}", status.shell_status()) : text);
}

/// A list of numbers and ranges ("0-3,7") as the bytes of a bit set, lowest first.
Result<std::vector<u8>> bit_set(std::string_view text) {
  std::vector<u8> bytes;
  std::string_view rest = text;
  while (!rest.empty()) {
    std::string_view part = take_word(rest, ',');
    const std::string_view low = take_word(part, '-');
    const u64 first = number(low), last = part.empty() ? first : number(part);
    if (first > last || last > 65535)
      return fail(fmt::format("CPU or memory node list '{}'", text), "not a list of numbers and ranges");
    if (bytes.size() <= last / 8) bytes.resize(last / 8 + 1);
    for (u64 bit = first; bit <= last; ++bit) bytes[bit / 8] |= static_cast<u8>(1u << (bit % 8));
  }
  return bytes;
}

/// The name of a driver, for systemd's "char-NAME".
std::string driver(char type, i64 major) {
  const auto text = get("/proc", "devices");
  if (!text) return {};
  std::string found;
  bool characters = true;
  for_lines(*text, [&](std::string_view line) {
    if (line.starts_with("Block")) characters = false;
    const u64 value = number(take_word(line));
    if (found.empty() && characters == (type == 'c') && value == static_cast<u64>(major)) found = line;
  });
  return found;
}

/// "(name, signature, value…)" of busctl, counted.
class Properties {
 public:
  template <class... Values>
  void add(const char* name, const char* signature, const Values&... values) {
    ++count_;
    words_.insert(words_.end(), {std::string(name), std::string(signature), std::string(values)...});
  }
  void bytes(const char* name, const std::vector<u8>& values) {
    add(name, "ay", std::to_string(values.size()));
    for (const u8 value : values) words_.push_back(std::to_string(value));
  }
  void pairs(const char* name, const std::vector<std::pair<std::string, std::string>>& values) {
    add(name, "a(ss)", std::to_string(values.size()));
    for (const auto& [first, second] : values) words_.insert(words_.end(), {first, second});
  }
  Words take() {
    words_.insert(words_.begin(), std::to_string(count_));
    return std::move(words_);
  }

 private:
  std::size_t count_ = 0;
  Words words_;
};

std::string limit(i64 value) { return value < 0 ? std::to_string(~u64{0}) : std::to_string(value); }

void cpu_properties(const container::CpuLimits& cpu, bool v2, Properties& out) {
  if (cpu.shares.value_or(0) != 0) {
    if (v2) {
      out.add("CPUWeight", "t", std::to_string(cpu_shares_to_weight(*cpu.shares)));
    } else {
      out.add("CPUShares", "t", std::to_string(*cpu.shares));
    }
  }
  const u64 period = cpu.period.value_or(0) != 0 ? *cpu.period : 100000;
  if (cpu.period.value_or(0) != 0) out.add("CPUQuotaPeriodUSec", "t", std::to_string(period));
  if (cpu.quota.value_or(0) > 0) {
    // systemd keeps whole percents; less than asked for must not come of rounding.
    const u64 per_second = static_cast<u64>(*cpu.quota) * 1'000'000 / period;
    out.add("CPUQuotaPerSecUSec", "t", std::to_string((per_second + 9999) / 10000 * 10000));
  } else if (cpu.quota.value_or(0) < 0) {
    out.add("CPUQuotaPerSecUSec", "t", std::to_string(~u64{0}));
  }
}

/// On v1 systemd writes devices.allow again whenever it is reloaded: it must know the list. v2's program it leaves
/// alone.
Result<> device_properties(const Resources& resources, Properties& out) {
  if (resources.devices.empty()) return {};
  TRY_ASSIGN(const auto list, device_list(resources.devices));
  if (list.allow) return {};
  std::vector<std::pair<std::string, std::string>> allowed;
  for (const auto& [key, exception] : list.exceptions) {
    const auto& [type, major, minor] = key;
    const std::string kind = type == 'c' ? "char" : "block";
    std::string name;
    if (major == any_number) {
      name = kind + "-*";
    } else if (minor == any_number) {
      name = kind + "-" + driver(type, major);
    } else {
      name = fmt::format("/dev/{}/{}:{}", kind, major, minor);
    }
    if (!name.ends_with("-")) allowed.emplace_back(name, letters(exception.access));
  }
  out.add("DevicePolicy", "s", "strict");
  out.pairs("DeviceAllow", allowed);
  return {};
}

}  // namespace

Result<Scope> parse_scope(const std::string& path, bool user) {
  const auto first = path.find(':');
  const auto second = first == std::string::npos ? first : path.find(':', first + 1);
  const auto refuse = [&](const char* why) {
    return fail(fmt::format("cgroup path '{}'", path), why, "systemd's form is slice:prefix:name");
  };
  if (second == std::string::npos) return refuse("not of three parts");
  Scope scope;
  scope.slice = first == 0 ? (user ? "user.slice" : "system.slice") : path.substr(0, first);
  const std::string prefix = path.substr(first + 1, second - first - 1), name = path.substr(second + 1);
  scope.unit = (prefix.empty() ? name : prefix + "-" + name) + (name.ends_with(".slice") ? "" : ".scope");
  if (name.empty() || !is_unit_name(scope.unit)) return refuse("no name of a unit");
  if (scope.slice != "-.slice") {
    if (!scope.slice.ends_with(".slice") || !is_unit_name(scope.slice)) return refuse("no name of a slice");
    const std::string_view stem = std::string_view(scope.slice).substr(0, scope.slice.size() - 6);
    if (stem.empty() || stem.ends_with('-') || stem.find("--") != std::string_view::npos)
      return refuse("no name of a slice");
    for (std::size_t dash = stem.find('-'); dash != std::string_view::npos; dash = stem.find('-', dash + 1)) {
      scope.folder += fmt::format("/{}.slice", stem.substr(0, dash));
    }
    scope.folder += "/" + scope.slice;
  }
  scope.folder += "/" + scope.unit;
  return scope;
}

Result<Words> scope_properties(const Scope& scope, const Resources& r, pid_t first, bool v2) {
  Properties out;
  out.add("Description", "s", "Nagaya " + scope.unit);
  out.add("Slice", "s", scope.slice);
  out.add("PIDs", "au", "1", std::to_string(first));
  out.add("Delegate", "b", "true");  // what is below is the domain's, and systemd does not move its processes
  out.add("DefaultDependencies", "b", "false");
  out.add("CollectMode", "s", "inactive-or-failed");
  for (const char* accounting : {"CPUAccounting", "MemoryAccounting", "TasksAccounting", "IOAccounting"})
    out.add(accounting, "b", "true");
  if (r.cpu) cpu_properties(*r.cpu, v2, out);
  if (r.cpu && v2 && !r.cpu->cpus.empty()) {
    TRY_ASSIGN(const auto bits, bit_set(r.cpu->cpus));
    out.bytes("AllowedCPUs", bits);
  }
  if (r.cpu && v2 && !r.cpu->mems.empty()) {
    TRY_ASSIGN(const auto bits, bit_set(r.cpu->mems));
    out.bytes("AllowedMemoryNodes", bits);
  }
  if (r.memory) {
    const auto& m = *r.memory;
    if (m.limit.value_or(0) != 0) out.add(v2 ? "MemoryMax" : "MemoryLimit", "t", limit(*m.limit));
    if (v2 && m.reservation.value_or(0) != 0) out.add("MemoryLow", "t", limit(*m.reservation));
    if (v2 && m.swap.value_or(0) != 0) {
      TRY_ASSIGN(const std::string swap, swap_max(m.limit.value_or(0), *m.swap));
      out.add("MemorySwapMax", "t", swap == "max" ? limit(-1) : swap);
    }
  }
  if (r.pids_limit) out.add("TasksMax", "t", limit(*r.pids_limit <= 0 ? -1 : *r.pids_limit));
  if (r.block_io && r.block_io->weight.value_or(0) != 0) {
    out.add(v2 ? "IOWeight" : "BlockIOWeight", "t",
            std::to_string(v2 ? io_weight(*r.block_io->weight) : *r.block_io->weight));
  }
  if (!v2) TRY(device_properties(r, out));
  return out.take();
}

Result<std::string> scope_folder(const Layout& layout, const std::string& path) {
  if (!systemd_runs()) {
    return fail(fmt::format("cannot make cgroup '{}' through systemd", path), "systemd does not run on this host",
                "take --cgroup-manager=cgroupfs (without --systemd-cgroup) and a path such as /nagaya/NAME");
  }
  TRY_ASSIGN(const Scope scope, parse_scope(path, of_user()));
  if (!of_user()) return scope.folder;
  // A user's manager has a group of its own; ours is below it, unless we came in over ssh.
  const std::string manager = fmt::format("user@{}.service", ::geteuid());
  for (const auto& hierarchy : layout.hierarchies) {
    const auto at = hierarchy.own.find(manager);
    if (at != std::string::npos) return hierarchy.own.substr(0, at + manager.size()) + scope.folder;
  }
  return fmt::format("/user.slice/user-{}.slice/{}{}", ::geteuid(), manager, scope.folder);
}

Result<> start_scope(const Layout& layout, const std::string& path, const Resources& resources, pid_t first) {
  if (first <= 0) return fail("a scope of systemd", "it cannot start without its first process");
  TRY_ASSIGN(const Scope scope, parse_scope(path, of_user()));
  const Hierarchy* memory = layout.find("memory");
  TRY_ASSIGN(Words properties, scope_properties(scope, resources, first, memory == nullptr || memory->v2));
  Words words{"StartTransientUnit", "ssa(sv)a(sa(sv))", scope.unit, "fail"};
  words.insert(words.end(), std::make_move_iterator(properties.begin()), std::make_move_iterator(properties.end()));
  words.emplace_back("0");
  if (auto asked = bus(std::move(words)); !asked) {
    return std::unexpected(std::move(asked).error().within(fmt::format("cannot start the scope '{}'", scope.unit)));
  }
  // The answer names a job that is still to be done; done it is when the process has moved.
  using namespace std::chrono_literals;
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  for (auto pause = 500us; std::chrono::steady_clock::now() < deadline;
       pause = std::min<std::chrono::microseconds>(pause * 2, 50ms)) {
    TRY_ASSIGN(const std::string groups, get(fmt::format("/proc/{}", first), "cgroup"));
    if (groups.find("/" + scope.unit) != std::string::npos) return {};
    std::this_thread::sleep_for(pause);
  }
  return fail(fmt::format("cannot start the scope '{}'", scope.unit),
              fmt::format("process {} is not in it after 30 s", first), "'systemctl status' of the unit tells more");
}

void stop_scope(const std::string& path) {
  auto scope = parse_scope(path, of_user());
  if (!scope) return;
  (void)bus({"StopUnit", "ss", scope->unit, "replace"});
  (void)bus({"ResetFailedUnit", "s", scope->unit});
}

}  // namespace nagaya::cgroup
