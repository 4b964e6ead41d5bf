// checkpoint, restore, migrate, receive: a running container's state leaves it and comes back.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>

#include "base/scope.hpp"
#include "cli/domain_command.hpp"
#include "cli/run_container.hpp"
#include "cli/save_command.hpp"
#include "domain/container_move.hpp"
#include "domain/container_save.hpp"
#include "host/process.hpp"
#include "host/signal.hpp"
#include "image/store.hpp"

namespace nagaya::cli {
namespace {

using domain::Container;
using domain::DomainStore;
using domain::Machine;
using domain::SaveOptions;

Result<Container> one_container(const DomainStore& store, const Parsed& options, const char* command) {
  TRY_ASSIGN(domain::Domain one, one_domain(store, options, command));
  if (const auto* machine = std::get_if<Machine>(&one)) {
    return not_for_machines(*machine, command, "a machine is saved by 'nagaya run --save-on-signal FILE'");
  }
  return std::get<Container>(std::move(one));
}

/// Not one of the standard streams, which a monitor gives up.
Result<host::Fd> kept_descriptor(int fd) {
  host::Fd out(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!out) return fail_errno("cannot keep a descriptor");
  return out;
}

void say(const std::string& text) { std::fprintf(stderr, "nagaya: %s\n", text.c_str()); }

/// The image here that has the same layers, whatever its id.
Result<image::Image> image_of(const domain::Arrival& arrival) {
  TRY_ASSIGN(const auto store, image::Store::open());
  if (auto same = store.find(arrival.definition.image)) return same;
  TRY_ASSIGN(const auto all, store.list());
  for (const image::Image& image : all) {
    if (!image.layers.empty() && std::ranges::equal(image.layers, arrival.layers, {}, &image::ImageLayer::sha256)) return image;
  }
  return fail(fmt::format("the container's image '{}' is not here", arrival.definition.image_name), "no image has the same layers",
              fmt::format("nagaya pull {}", arrival.definition.image_name));
}

SaveOptions save_options(const Parsed& options, const Container& container) {
  SaveOptions out;
  if (const auto store = image::Store::open()) {
    if (const auto image = store->find(container.definition.image)) {
      for (const auto& layer : image->layers) out.layers.push_back(layer.sha256);
    }
  }
  out.leave_running = options.has("leave-running");
  out.tcp_established = options.has("tcp-established");
  out.file_locks = options.has("file-locks");
  if (!options.has("quiet")) out.progress = say;
  return out;
}

/// The file appears when it is whole.
Result<> save_to_file(const DomainStore& store, const Container& container, const std::string& path, const SaveOptions& options) {
  const std::string begun = path + ".part";
  host::Fd file(::open(begun.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return fail_errno(fmt::format("cannot make '{}'", begun));
  ScopeExit undo([&] { ::unlink(begun.c_str()); });
  migrate::Stream stream(-1, file.get());
  // Whole and on the disk before the processes end is not to be had: the last frame follows them at once.
  TRY(domain::send_container(store.containers(), container, stream, options));
  if (::fsync(file.get()) != 0 || ::rename(begun.c_str(), path.c_str()) != 0) return fail_errno(fmt::format("cannot write '{}'", path));
  undo.release();
  return {};
}

Result<int> run_checkpoint(const Parsed& options) {
  const DomainStore store;
  TRY_ASSIGN(const Container container, one_container(store, options, "checkpoint"));
  const SaveOptions how = save_options(options, container);
  if (options.has("export")) {
    TRY(save_to_file(store, container, options.last("export"), how));
  } else {
    if (how.leave_running) return fail("nagaya checkpoint --leave-running", "its next start would go back to a past that it has left", "name a file: --export");
    TRY(domain::save_container(store.containers(), container, how));
  }
  fmt::print("{}\n", container.definition.name);
  return 0;
}

/// Makes the container that the stream is about, and lets its monitor take the rest.
Result<std::string> take(migrate::Stream& stream, const std::string& name, bool quiet) {
  TRY_ASSIGN(const migrate::Frame head, stream.expect(migrate::Kind::domain));
  TRY_ASSIGN(const domain::Arrival arrival, domain::read_arrival(head.text()));
  domain::ContainerDefinition definition = arrival.definition;
  TRY_ASSIGN(const image::Image image, image_of(arrival));
  definition.image = image.id;
  if (!name.empty()) {
    definition.name = name;
    definition.id.clear();
    TRY(definition.validate());
  }
  TRY_ASSIGN(domain::ContainerStart start, start_of({definition, {}}, quiet));
  start.arrival = &stream;
  start.address = arrival.address;
  start.connections = arrival.connections;
  const domain::ContainerStore store;
  TRY_ASSIGN(const Container container, store.create(std::move(definition)));
  ScopeExit undo([&] { (void)store.remove(container); });
  TRY(domain::start_container(store, container, start));
  undo.release();
  return container.definition.name;
}

Result<int> run_restore(const Parsed& options) {
  if (options.has("import")) {
    if (options.has("NAME")) return fail("nagaya restore --import", "the file says which container it is", "name it by --name");
    const std::string path = options.last("import");
    host::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return fail_errno(fmt::format("cannot read '{}'", path));
    migrate::Stream stream(file.get(), -1);
    TRY_ASSIGN(const std::string name, take(stream, options.has("name") ? options.last("name") : "", options.has("quiet")));
    fmt::print("{}\n", name);
    return 0;
  }
  if (options.has("name")) return fail("nagaya restore --name", "only what comes from a file gets a name", "'nagaya rename' gives another one");
  const DomainStore store;
  TRY_ASSIGN(const Container container, one_container(store, options, "restore"));
  if (!domain::is_saved(container)) {
    return fail(fmt::format("container '{}' is not saved", container.definition.name), {}, fmt::format("'nagaya checkpoint {}' does that while it runs", container.definition.name));
  }
  TRY_ASSIGN(const domain::ContainerStart start, start_of(container, options.has("quiet")));
  TRY(domain::start_container(store.containers(), container, start));
  fmt::print("{}\n", container.definition.name);
  return 0;
}

/// The program whose standard streams lead to the other side.
std::vector<std::string> way_to(const Parsed& options) {
  if (options.has("through")) return {"/bin/sh", "-c", options.last("through")};
  return {"ssh", "-oBatchMode=yes", "--", options.last("HOST"), "nagaya receive --quiet"};
}

Result<unsigned> rounds_of(const Parsed& options) {
  if (!options.has("rounds")) return SaveOptions{}.rounds;
  const std::string text = options.last("rounds");
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 1 || value > 64) return fail(fmt::format("--rounds {}", text), "it must be 1 to 64");
  return value;
}

Result<int> run_migrate(const Parsed& options) {
  const DomainStore store;
  TRY_ASSIGN(const Container container, one_container(store, options, "migrate"));
  if (options.has("HOST") == options.has("through")) {
    return fail("nagaya migrate", "name a host, or --through and a command whose standard streams lead to 'nagaya receive'");
  }
  SaveOptions how = save_options(options, container);
  TRY_ASSIGN(how.rounds, rounds_of(options));
  how.lazy = options.has("lazy");
  host::ignore_sigpipe();
  TRY_ASSIGN(auto out, host::Fd::pipe());
  TRY_ASSIGN(auto in, host::Fd::pipe());
  std::vector<std::string> words = way_to(options);
  host::SpawnOptions spawn{.program = words[0], .args = {words.begin() + 1, words.end()}, .fds = {{out.first.get(), 0}, {in.second.get(), 1}}};
  TRY_ASSIGN(host::Process way, host::Process::spawn(std::move(spawn)));
  out.first.reset();
  in.second.reset();
  migrate::Stream stream(in.first.get(), out.second.get());
  auto done = domain::send_container(store.containers(), container, stream, how);
  out.second.reset();
  in.first.reset();
  (void)way.wait();
  if (!done) return std::unexpected(std::move(done.error()));
  if (auto gone = store.containers().remove(container); !gone && gone.error().code != ENOENT) complain(gone.error());
  fmt::print("{}\n", container.definition.name);
  return 0;
}

Result<int> run_receive(const Parsed& options) {
  if (::isatty(0) != 0 || ::isatty(1) != 0) return fail("nagaya receive", "a terminal sends no container", "'nagaya migrate' starts this at the other side");
  host::ignore_sigpipe();
  TRY_ASSIGN(const host::Fd in, kept_descriptor(0));
  TRY_ASSIGN(const host::Fd out, kept_descriptor(1));
  migrate::Stream stream(in.get(), out.get());
  auto name = take(stream, options.has("name") ? options.last("name") : "", options.has("quiet"));
  if (name) return 0;
  (void)stream.send(migrate::Kind::failed, std::string_view(name.error().message()).substr(0, 4096));
  return std::unexpected(std::move(name.error()));
}

std::vector<OptionSpec> how_to_save() {
  return {{"--tcp-established", "", "save TCP connections, too; without it they are an error"},
          {"--file-locks", "", "save locks of files, too"},
          {"-q,--quiet", "", "no messages about progress"}};
}

CommandSpec checkpoint_command() {
  CommandSpec out{.name = "checkpoint",
                  .summary = "save a running container: it ends, and goes on from there when it is started",
                  .examples = {{"nagaya checkpoint web", "'nagaya start web' or 'nagaya restore web' goes on"},
                               {"nagaya checkpoint web --export web.saved", "into a file, with all that it has written"},
                               {"nagaya checkpoint web --export web.saved --leave-running", "and let it go on"}},
                  .options = {{"-e,--export", "FILE", "save it into this file", Completes::file},
                              {"-R,--leave-running", "", "let it go on (with --export)"}},
                  .run = run_checkpoint};
  const auto more = how_to_save();
  out.options.insert(out.options.end(), more.begin(), more.end());
  out.options.push_back(name_argument());
  return out;
}

CommandSpec restore_command() {
  return {.name = "restore",
          .summary = "let a saved container go on",
          .examples = {{"nagaya restore web", "from where 'nagaya checkpoint web' has saved it"},
                       {"nagaya restore --import web.saved --name copy", "from a file, under another name; its image must be here"}},
          .options = {{"-i,--import", "FILE", "from this file", Completes::file},
                      {"-n,--name", "NAME", "how it is called (with --import)"},
                      {"-q,--quiet", "", "no messages about progress"},
                      name_argument()},
          .run = run_restore};
}

CommandSpec migrate_command() {
  CommandSpec out{.name = "migrate",
                  .summary = "move a running container to another host",
                  .examples = {{"nagaya migrate web root@other", "by ssh; it stands still for a moment only, and goes on there"},
                               {"nagaya migrate web --through 'NAGAYA_STATE_DIR=/other nagaya receive'", "over the standard streams of any command"}},
                  .options = {{"--through", "COMMAND", "a command whose standard streams lead to 'nagaya receive'"},
                              {"--lazy", "", "it runs there at once, and its memory follows (post-copy)"},
                              {"--rounds", "N", "how often memory is sent before it stands still, at most (default: 5, the last included)"}},
                  .run = run_migrate};
  const auto more = how_to_save();
  out.options.insert(out.options.end(), more.begin(), more.end());
  out.options.push_back(name_argument());
  out.options.push_back({"HOST", "HOST", "[USER@]HOST, as ssh takes it"});
  return out;
}

CommandSpec receive_command() {
  return {.name = "receive",
          .summary = "take a container that 'nagaya migrate' sends, over standard input and output",
          .examples = {{"ssh root@other nagaya receive", "what 'nagaya migrate web root@other' starts there"}},
          .options = {{"-n,--name", "NAME", "how it is called here"}, {"-q,--quiet", "", "no messages about progress"}},
          .run = run_receive};
}

}  // namespace

std::vector<CommandSpec> save_commands() { return {checkpoint_command(), restore_command(), migrate_command(), receive_command()}; }

}  // namespace nagaya::cli
