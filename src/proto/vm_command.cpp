#include "proto/vm_command.hpp"

#include <array>

#include "proto/json_fields.hpp"

namespace nagaya::proto {
namespace {

constexpr std::array<std::string_view, 13> verbs = {"pause", "resume", "reset", "powerdown", "nmi",
                                                   "quit",  "status", "stats", "registers", "save", "resize_disk", "link", "balloon"};
static_assert(verbs[static_cast<std::size_t>(VmCommand::Verb::balloon)] == "balloon");

}  // namespace

std::string VmCommand::to_json() const {
  nlohmann::ordered_json out = {{"command", verbs[static_cast<std::size_t>(verb)]}};
  if (verb == Verb::save) out["file"] = file, out["then_exit"] = then_exit;
  if (verb == Verb::resize_disk) out["disk"] = disk, out["size"] = size;
  if (verb == Verb::link) out["card"] = card, out["up"] = up;
  if (target) out["target"] = *target;
  return print(out);
}

Result<VmCommand> VmCommand::from_json(std::string_view line) {
  TRY_ASSIGN(const auto object, parse_object(line, "command"));
  Fields fields(object, "command");
  VmCommand out;
  std::string name;
  fields.text("command", name);
  const auto found = std::ranges::find(verbs, name);
  if (found == verbs.end()) return fail("command", fmt::format("'{}' is none", name), "pause, resume, save, quit, status …");
  out.verb = static_cast<Verb>(found - verbs.begin());
  if (out.verb == Verb::save) {
    fields.text("file", out.file);
    fields.flag("then_exit", out.then_exit);
  }
  if (out.verb == Verb::resize_disk) {
    fields.text("disk", out.disk);
    fields.number("size", out.size);
  }
  if (out.verb == Verb::link) {
    fields.text("card", out.card);
    fields.flag("up", out.up);
  }
  if (out.verb == Verb::balloon) {
    if (u64 target = 0; fields.number("target", target)) out.target = target;
  }
  TRY(fields.finish());
  if (out.verb == Verb::link && out.card.empty()) return fail("command", "link needs a 'card'");
  if (out.verb == Verb::resize_disk && (out.disk.empty() || out.size == 0)) return fail("command", "resize_disk needs a 'disk' and a 'size'");
  if (out.verb == Verb::save && out.file.empty()) return fail("command", "save needs a 'file'");
  return out;
}

std::string VmAnswer::to_json() const {
  nlohmann::ordered_json out = {{"ok", ok}};
  if (!error.empty()) out["error"] = error;
  if (!status.empty()) out["status"] = status;
  if (!reason.empty()) out["reason"] = reason;
  if (!engine.empty()) out["engine"] = engine;
  if (vcpus != 0) out["vcpus"] = vcpus;
  if (memory != 0) out["memory"] = memory;
  if (!text.empty()) out["text"] = text;
  return print(out);
}

Result<VmAnswer> VmAnswer::from_json(std::string_view line) {
  TRY_ASSIGN(const auto object, parse_object(line, "answer"));
  Fields fields(object, "answer");
  VmAnswer out;
  fields.flag("ok", out.ok);
  fields.text("error", out.error);
  fields.text("status", out.status);
  fields.text("reason", out.reason);
  fields.text("engine", out.engine);
  fields.number("vcpus", out.vcpus);
  fields.number("memory", out.memory);
  fields.text("text", out.text);
  TRY(fields.finish());
  return out;
}

}  // namespace nagaya::proto
