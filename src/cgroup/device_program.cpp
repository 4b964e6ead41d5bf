// A filter of device accesses as cgroup v2 wants it. Context and verdict: Documentation/bpf, linux/bpf.h (struct
// bpf_cgroup_dev_ctx).
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "cgroup/device_rules.hpp"
#include "host/fd.hpp"

namespace nagaya::cgroup {
namespace {

constexpr char program_name[] = "nagaya_devices";

u64 instruction(u8 code, u8 to, u8 from, i16 offset, i32 value) {
  return u64{code} | u64{to} << 8 | u64{from} << 12 | u64{static_cast<u16>(offset)} << 16 |
         u64{static_cast<u32>(value)} << 32;
}
u64 load(u8 to, std::size_t offset) {
  return instruction(BPF_LDX | BPF_MEM | BPF_W, to, BPF_REG_1, static_cast<i16>(offset), 0);
}
u64 compute(u8 operation, u8 to, i32 value) { return instruction(BPF_ALU | operation | BPF_K, to, 0, 0, value); }
u64 skip_unless(u8 reg, i32 value, int count) {
  return instruction(BPF_JMP | BPF_JNE | BPF_K, reg, 0, static_cast<i16>(count), value);
}
u64 skip_if(u8 reg, i32 value, int count) {
  return instruction(BPF_JMP | BPF_JEQ | BPF_K, reg, 0, static_cast<i16>(count), value);
}
u64 leave() { return instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0); }

constexpr u8 verdict = BPF_REG_0, wanted = BPF_REG_2, type = BPF_REG_3, major = BPF_REG_4, minor = BPF_REG_5,
             some = BPF_REG_6;

void answer(std::vector<u64>& program, bool allow) {
  program.push_back(compute(BPF_MOV, verdict, allow ? 1 : 0));
  program.push_back(leave());
}

/// What happens to an access that the rule speaks of.
std::vector<u64> consequence(const PlainRule& rule) {
  std::vector<u64> code;
  if (rule.access != access_all && rule.allow) {  // what it allows is no longer wanted; go on for the rest
    code.push_back(compute(BPF_AND, wanted, access_all & ~rule.access));
    code.push_back(skip_unless(wanted, 0, 2));
  } else if (rule.access != access_all) {
    code.push_back(instruction(BPF_ALU | BPF_MOV | BPF_X, some, wanted, 0, 0));
    code.push_back(compute(BPF_AND, some, rule.access));
    code.push_back(skip_if(some, 0, 2));
  }
  answer(code, rule.allow);
  return code;
}

int bpf(int command, bpf_attr& attr) { return static_cast<int>(::syscall(SYS_bpf, command, &attr, sizeof attr)); }

bpf_attr empty_attr() {
  bpf_attr attr;
  std::memset(&attr, 0, sizeof attr);
  return attr;
}

/// The program of ours that is attached to the group already, if any.
host::Fd attached(int folder) {
  u32 ids[64] = {};
  bpf_attr query = empty_attr();
  query.query.target_fd = static_cast<u32>(folder);
  query.query.attach_type = BPF_CGROUP_DEVICE;
  query.query.prog_ids = reinterpret_cast<u64>(ids);
  query.query.prog_cnt = std::size(ids);
  if (bpf(BPF_PROG_QUERY, query) != 0) return {};
  for (u32 i = 0; i < query.query.prog_cnt && i < std::size(ids); ++i) {
    bpf_attr by_id = empty_attr();
    by_id.prog_id = ids[i];
    host::Fd program(bpf(BPF_PROG_GET_FD_BY_ID, by_id));
    if (!program) continue;
    bpf_prog_info info{};
    bpf_attr about = empty_attr();
    about.info.bpf_fd = static_cast<u32>(program.get());
    about.info.info_len = sizeof info;
    about.info.info = reinterpret_cast<u64>(&info);
    if (bpf(BPF_OBJ_GET_INFO_BY_FD, about) == 0 && std::string_view(info.name) == program_name) return program;
  }
  return {};
}

}  // namespace

std::vector<u64> device_program(const std::vector<PlainRule>& rules) {
  std::vector<u64> program{
      load(wanted, offsetof(bpf_cgroup_dev_ctx, access_type)),  // (access << 16) | type
      instruction(BPF_ALU | BPF_MOV | BPF_X, type, wanted, 0, 0),
      compute(BPF_AND, type, 0xffff),
      compute(BPF_RSH, wanted, 16),
      load(major, offsetof(bpf_cgroup_dev_ctx, major)),
      load(minor, offsetof(bpf_cgroup_dev_ctx, minor)),
  };
  for (auto rule = rules.rbegin(); rule != rules.rend(); ++rule) {
    const auto then = consequence(*rule);
    const int length = static_cast<int>(then.size());
    int checks =
        (rule->type != 'a' ? 1 : 0) + (rule->major != any_number ? 1 : 0) + (rule->minor != any_number ? 1 : 0);
    const auto check = [&](u8 reg, i64 value) {
      program.push_back(skip_unless(reg, static_cast<i32>(value), --checks + length));
    };
    if (rule->type != 'a') check(type, rule->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
    if (rule->major != any_number) check(major, rule->major);
    if (rule->minor != any_number) check(minor, rule->minor);
    program.insert(program.end(), then.begin(), then.end());
    if (rule->everything()) return program;  // the verifier refuses code that is never reached
  }
  answer(program, false);
  return program;
}

Result<> attach_device_program(const std::string& folder, const std::vector<PlainRule>& rules) {
  const auto refused = [&](const char* what) {
    const int code = errno;
    return fail_errno(fmt::format("cannot {} the device filter of cgroup '{}'", what, folder), code,
                      code == EPERM ? "it needs CAP_BPF or CAP_SYS_ADMIN outside of user namespaces"
                      : code == EINVAL || code == ENOSYS ? "the kernel may be built without CONFIG_CGROUP_BPF"
                                                         : "");
  };
  TRY_ASSIGN(const host::Fd group, host::Fd::open(folder, O_RDONLY | O_DIRECTORY));
  const auto code = device_program(rules);
  bpf_attr attr = empty_attr();
  attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attr.insns = reinterpret_cast<u64>(code.data());
  attr.insn_cnt = static_cast<u32>(code.size());
  attr.license = reinterpret_cast<u64>("Apache-2.0");
  std::memcpy(attr.prog_name, program_name, sizeof program_name);
  const host::Fd program(bpf(BPF_PROG_LOAD, attr));
  if (!program) return refused("load");
  const host::Fd before = attached(group.get());
  attr = empty_attr();
  attr.target_fd = static_cast<u32>(group.get());
  attr.attach_bpf_fd = static_cast<u32>(program.get());
  attr.attach_type = BPF_CGROUP_DEVICE;
  attr.attach_flags = BPF_F_ALLOW_MULTI;  // others' filters above and beside stay in force
  if (before) {
    attr.attach_flags |= BPF_F_REPLACE;
    attr.replace_bpf_fd = static_cast<u32>(before.get());
  }
  if (bpf(BPF_PROG_ATTACH, attr) != 0) return refused("attach");
  return {};
}

}  // namespace nagaya::cgroup
