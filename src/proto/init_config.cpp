#include "proto/init_config.hpp"

#include <algorithm>
#include <charconv>

#include "proto/json_fields.hpp"

namespace nagaya::proto {
namespace {

constexpr const char* what = "configuration of nagaya-init";

bool has_zero(const std::string& text) { return text.find('\0') != std::string::npos; }

}  // namespace

Result<> InitConfig::validate() const {
  if (args.empty() || args[0].empty()) return fail(what, "no program is named", "give a command, or an image that has one");
  if (std::ranges::any_of(args, has_zero) || std::ranges::any_of(env, has_zero) || has_zero(workdir) || has_zero(user)) return fail(what, "a zero byte in a word");
  for (const std::string& one : env) {
    if (one.find('=') == std::string::npos || one[0] == '=') return fail(what, fmt::format("'{}' is not NAME=VALUE", one.substr(0, 100)));
  }
  if (!workdir.empty() && workdir[0] != '/') return fail(what, fmt::format("working folder '{}' is not absolute", workdir));
  for (const InitMount& mount : mounts) {
    if (mount.tag.empty() || mount.tag.size() > 36 || mount.place.empty() || mount.place[0] != '/') return fail(what, "a mount without tag or absolute place");
  }
  return {};
}

std::string InitConfig::to_json() const {
  nlohmann::ordered_json shares = nlohmann::ordered_json::array();
  for (const InitMount& mount : mounts) shares.push_back({{"tag", mount.tag}, {"place", mount.place}, {"readonly", mount.read_only}});
  return print({{"hostname", hostname}, {"args", args}, {"env", env}, {"workdir", workdir}, {"user", user}, {"stop_signal", stop_signal},
                {"mounts", shares}, {"terminal", terminal}, {"network", network}});
}

Result<InitConfig> InitConfig::from_json(std::string_view text) {
  TRY_ASSIGN(const nlohmann::json object, parse_object(text, what));
  InitConfig out;
  Fields fields(object, what);
  fields.text("hostname", out.hostname);
  fields.texts("args", out.args);
  fields.texts("env", out.env);
  fields.text("workdir", out.workdir);
  fields.text("user", out.user);
  fields.text("stop_signal", out.stop_signal);
  fields.flag("terminal", out.terminal);
  fields.flag("network", out.network);
  if (const auto* mounts = fields.take("mounts")) {
    if (!mounts->is_array()) return fail(what, "'mounts' must be a list");
    for (const auto& item : *mounts) {
      if (!item.is_object()) return fail(what, "a mount must be an object");
      InitMount mount;
      Fields inner(item, what);
      inner.text("tag", mount.tag);
      inner.text("place", mount.place);
      inner.flag("readonly", mount.read_only);
      TRY(inner.finish());
      out.mounts.push_back(std::move(mount));
    }
  }
  TRY(fields.finish());
  TRY(out.validate());
  return out;
}

Result<InitStatus> parse_init_status(std::string_view text) {
  // The guest wrote it.
  const auto bad = [] { return fail("the guest's status", "it makes no sense"); };
  if (text.size() > 4096) return bad();
  text = text.substr(0, text.find('\n'));
  const bool error = text.starts_with("error ");
  if (!error && !text.starts_with("exit ")) return bad();
  text.remove_prefix(error ? 6 : 5);
  InitStatus out;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), out.code);
  if (code != std::errc{} || out.code < 0 || out.code > 255) return bad();
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (!error && !text.empty()) return bad();
  if (error) {
    for (const char c : text) out.error += static_cast<unsigned char>(c) < ' ' || c == 127 ? '?' : c;
    while (out.error.starts_with(' ')) out.error.erase(0, 1);
    if (out.error.empty()) out.error = "it could not be started";
  }
  return out;
}

}  // namespace nagaya::proto
