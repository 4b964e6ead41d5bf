// start, state, kill, delete, pause, resume, list.
#include <pwd.h>
#include <sys/stat.h>

#include <csignal>
#include <cstring>
#include <string_view>

#include "base/signal_name.hpp"
#include "oci/commands.hpp"
#include "oci/json_text.hpp"
#include "oci/options.hpp"

namespace nagaya::oci {
namespace {

Result<std::string> id_alone(Words words) {
  TRY_ASSIGN(const Parsed parsed, Parsed::read(words, {}, false));
  return only_argument(parsed.arguments, "the container's id");
}

std::string owner_of(const std::string& root, const std::string& id) {
  struct stat facts{};
  if (::stat((root + "/" + id).c_str(), &facts) != 0) return "";
  return facts.st_uid == 0 ? "root" : "#" + std::to_string(facts.st_uid);
}

std::string column(std::string text, std::size_t width) {
  text.resize(std::max(text.size() + 1, width), ' ');
  return text;
}

/// JSON of one container as `list` and `state` print it: the specification's fields and runc's.
std::string described(const container::State& state, const std::string& owner) {
  std::string annotations;
  for (const auto& [name, value] : state.annotations)
    annotations += (annotations.empty() ? "" : ",") + quoted(name) + ":" + quoted(value);
  std::string out = "{\"ociVersion\":\"1.1.0\",\"id\":" + quoted(state.id) + ",\"pid\":" + std::to_string(state.pid) +
                    ",\"status\":" + quoted(container::status_name(state.status)) +
                    ",\"bundle\":" + quoted(state.bundle) + ",\"rootfs\":" + quoted(state.rootfs) +
                    ",\"created\":" + quoted(state.created);
  if (!annotations.empty()) out += ",\"annotations\":{" + annotations + "}";
  return out + ",\"owner\":" + quoted(owner) + "}";
}

}  // namespace

Result<int> start_command(const Global& global, Words words) {
  TRY_ASSIGN(const std::string id, id_alone(words));
  TRY(container::start(global.root, id));
  return 0;
}

Result<int> state_command(const Global& global, Words words) {
  TRY_ASSIGN(const std::string id, id_alone(words));
  TRY_ASSIGN(const container::State state, container::state(global.root, id));
  TRY(print(described(state, owner_of(global.root, id)) + "\n"));
  return 0;
}

Result<int> kill_command(const Global& global, Words words) {
  constexpr Option options[] = {{"all", 'a'}};
  TRY_ASSIGN(const Parsed parsed, Parsed::read(words, options, false));
  if (parsed.arguments.empty() || parsed.arguments.size() > 2)
    return fail("kill needs a container's id and perhaps a signal");
  const std::string name = parsed.arguments.size() == 2 ? parsed.arguments[1] : "TERM";
  const int signal = signal_of_name(name);
  if (signal < 0) return fail("unknown signal '" + name + "'");
  TRY(container::kill(global.root, parsed.arguments[0], signal, parsed.has("all")));
  return 0;
}

Result<int> delete_command(const Global& global, Words words) {
  constexpr Option options[] = {{"force", 'f'}};
  TRY_ASSIGN(const Parsed parsed, Parsed::read(words, options, false));
  TRY_ASSIGN(const std::string id, only_argument(parsed.arguments, "the container's id"));
  TRY(container::remove(global.root, id, parsed.has("force")));
  return 0;
}

Result<int> pause_command(const Global& global, Words words) {
  TRY_ASSIGN(const std::string id, id_alone(words));
  TRY(container::pause(global.root, id));
  return 0;
}

Result<int> resume_command(const Global& global, Words words) {
  TRY_ASSIGN(const std::string id, id_alone(words));
  TRY(container::resume(global.root, id));
  return 0;
}

Result<int> list_command(const Global& global, Words words) {
  constexpr Option options[] = {{"quiet", 'q'}, {"format", 'f', true}};
  TRY_ASSIGN(const Parsed parsed, Parsed::read(words, options, false));
  const std::string format = parsed.get("format", "table");
  if (format != "table" && format != "json") return fail("--format is table or json, not '" + format + "'");
  TRY_ASSIGN(const std::vector<container::State> all, container::list(global.root));
  std::string out;
  if (parsed.has("quiet")) {
    for (const container::State& state : all) out += state.id + "\n";
  } else if (format == "json") {
    out = "[";
    for (const container::State& state : all)
      out += (out.size() > 1 ? "," : "") + described(state, owner_of(global.root, state.id));
    out += "]\n";
  } else {
    std::size_t width = 12;
    for (const container::State& state : all) width = std::max(width, state.id.size() + 1);
    const auto row = [&out, width](const std::string& id, const std::string& pid, const std::string& status,
                                   const std::string& bundle, const std::string& created, const std::string& owner) {
      out += column(id, width) + column(pid, 12) + column(status, 12) + column(bundle, 40) + column(created, 32) +
             owner + "\n";
    };
    row("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER");
    for (const container::State& state : all) {
      row(state.id, std::to_string(state.pid), std::string(container::status_name(state.status)), state.bundle,
          state.created, owner_of(global.root, state.id));
    }
  }
  TRY(print(out));
  return 0;
}

}  // namespace nagaya::oci
