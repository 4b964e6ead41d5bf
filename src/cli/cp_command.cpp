#include <fmt/core.h>
#include <unistd.h>

#include <optional>

#include "agent/client.hpp"
#include "agent/copy/copy.hpp"
#include "cli/container_files.hpp"
#include "cli/exec_command.hpp"
#include "domain/domain_store.hpp"
#include "host/terminal.hpp"
#include "proto/device_config.hpp"

namespace nagaya::cli {

namespace {

constexpr int patience_ms = 5000;

struct GuestPath {
  std::string name, path;
};

// "NAME:PATH". A word with a slash before the colon is a path of this host.
std::optional<GuestPath> guest_path(const std::string& word) {
  const std::size_t colon = word.find(':');
  if (colon == std::string::npos || word.find('/') < colon) return {};
  return GuestPath{word.substr(0, colon), word.substr(colon + 1)};
}

void warn(const std::string& text) { fmt::print(stderr, "nagaya: {}\n", text); }

Result<int> copy(const Parsed& options) {
  const std::vector<std::string>& words = options.all("PATH");
  const char* usage = "write nagaya cp NAME:PATH LOCAL, or nagaya cp LOCAL NAME:PATH";
  if (words.size() != 2) return fail("nagaya cp", "it takes two places", usage);
  const auto from = guest_path(words[0]), to = guest_path(words[1]);
  if (from.has_value() == to.has_value()) return fail("nagaya cp", from ? "both places are in machines or containers" : "neither place is in a machine or container", usage);
  const GuestPath& guest = from ? *from : *to;
  const std::string& local = from ? words[1] : words[0];
  if (guest.path.empty() || local.empty()) return fail("nagaya cp", "a path is empty", usage);
  const bool stream = local == "-";
  if (stream && from && host::is_terminal(STDOUT_FILENO)) return fail("nagaya cp", "a tar stream is nothing for a terminal", "redirect it");
  const auto carry = [&](agent::Channel& channel) -> Result<> {
    if (from) return stream ? agent::copy_out_tar(channel, guest.path, STDOUT_FILENO, warn) : agent::copy_out(channel, guest.path, local, warn);
    return stream ? agent::copy_in_tar(channel, STDIN_FILENO, guest.path, warn) : agent::copy_in(channel, local, guest.path, warn);
  };
  const domain::DomainStore store;
  if (const auto one = store.find(guest.name)) {
    if (const auto* container = std::get_if<domain::Container>(&*one)) {
      TRY_ASSIGN(ContainerFiles files, ContainerFiles::open(store.containers(), *container));
      TRY(carry(files.channel()));
      return 0;
    }
  }
  TRY_ASSIGN(const std::string socket, agent_socket(guest.name));
  TRY_ASSIGN(agent::Channel channel, agent::connect(socket, patience_ms));
  TRY(carry(channel));
  return 0;
}

}  // namespace

CommandSpec cp_command() {
  return {
      .name = "cp",
      .summary = "copy files into a machine or container, or out of it",
      .examples = {{"nagaya cp web:/var/log/syslog .", "out of the machine or container called web"},
                   {"nagaya cp site web:/srv", "a folder with all in it, into the machine"},
                   {"nagaya cp web:/etc - | tar t", "as a tar stream"},
                   {"tar c site | nagaya cp - web:/srv", "what a tar stream holds, into a folder of the machine"}},
      .options = {{"PATH", "PATH", "from and to: one is NAME:PATH, the other a local path or - for a tar stream", Completes::file, {}, false, true}},
      .sections = {{"What is kept",
                    "Modes, times, folders and symbolic links. Owners are those of who writes: you here, root in the machine; tar streams tell the "
                    "owners. Set-user-id bits do not come out. Devices, pipes and sockets are left out. "
                    "A machine must run; a container that does not shows its root without its volumes.",
                    {}}},
      .run = copy,
  };
}

}  // namespace nagaya::cli
