#include "cli/run_container.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/log.hpp"
#include "base/scope.hpp"
#include "cli/container_console.hpp"
#include "cli/container_options.hpp"
#include "cli/image_for_run.hpp"
#include "cli/launch.hpp"
#include "domain/container_image.hpp"
#include "domain/container_join.hpp"
#include "domain/user_space.hpp"
#include "host/terminal.hpp"
#include "image/store.hpp"

namespace nagaya::cli {
namespace {

using domain::Container;
using domain::ContainerDefinition;
using domain::ContainerStore;

/// The file gets the id before anything runs, and must be new: two containers never share one.
Result<> write_id_file(const std::string& path, const std::string& id) {
  const host::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!file) return fail_errno(fmt::format("--cidfile {}", path), 0, errno == EEXIST ? "another container's id is in it; remove the file or name another" : "");
  return host::write_all(file.get(), id);
}

Result<> check_terminal(const Parsed& options) {
  if (options.has("detach") || !options.has("tty") || !options.has("interactive") || host::is_terminal(STDIN_FILENO)) return {};
  return fail("-t", "standard input is no terminal", "leave -t out");
}

/// What a shell would say of a program that could not be started.
int told(const Error& error) {
  if (error.code != ENOENT && error.code != EACCES) return 0;
  complain(error);
  return error.code == ENOENT ? 127 : 126;
}

/// Folders of the layers, unpacked for overlays.
Result<std::vector<std::string>> unpacked_layers(const image::Store& store, const image::Image& image, const image::Work& work) {
  std::vector<std::string> out;
  for (const image::ImageLayer& layer : image.layers) {
    // Others than root unpack where all owners of the layer's files are theirs to give.
    if (::geteuid() != 0) {
      TRY(domain::in_user_namespace([&]() -> Result<> {
        TRY(store.unpacked(image, layer, true, work));
        return {};
      }));
    }
    TRY_ASSIGN(std::string folder, store.unpacked(image, layer, ::geteuid() != 0, work));
    out.push_back(std::move(folder));
  }
  return out;
}

}  // namespace

Result<domain::ContainerLayers> layers_of(const Container& container, bool quiet) {
  const ContainerDefinition& definition = container.definition;
  TRY_ASSIGN(const auto store, image::Store::open());
  TRY_ASSIGN(const image::Image image, store.find(definition.image));
  if (image.layers.empty()) {
    return fail(fmt::format("image '{}'", definition.image_name), "it was made by an older Nagaya, for machines only",
                image.kind == image::Kind::disk ? "build it again: nagaya build debian" : "pull it again");
  }
  domain::ContainerLayers out{.archives = {}, .whiteouts = image.kind == image::Kind::oci, .folders = {}};
  for (const image::ImageLayer& layer : image.layers) out.archives.push_back(layer.path);
  const std::string driver = domain::storage_driver(container);
  if (driver == "vfs") return out;
  image::Work work;
  if (!quiet) work.say = [](const std::string& step) { std::fprintf(stderr, "nagaya: %s\n", step.c_str()); };
  if (auto folders = unpacked_layers(store, image, work)) {
    out.folders = std::move(*folders);
  } else if (driver.empty()) {
    // Whiteouts need device files or attributes that this kernel or file system may refuse; a copy does not. A damaged archive is told by it.
    log::debug("the layers of '{}' cannot be unpacked for an overlay: {}", definition.image_name, folders.error().message());
  } else {
    return std::unexpected(std::move(folders.error()));
  }
  return out;
}

Result<domain::ContainerStart> start_of(const Container& container, bool quiet) {
  domain::ContainerStart out{.layers = {}, .image = image_config(container.definition), .net_program = {}, .reaper_program = {}};
  TRY_ASSIGN(out.layers, layers_of(container, quiet));
  TRY_ASSIGN(out.net_program, helper_path("nagaya-net"));
  // A container runs without it, too; doctor says that it is missing.
  if (auto view = helper_path("nagaya-procview")) out.view_program = std::move(*view);
  if (container.definition.reaper) {
    TRY_ASSIGN(out.reaper_program, helper_path("nagaya-reaper"));
  }
  return out;
}

image::OciConfig image_config(const ContainerDefinition& definition) {
  const auto store = image::Store::open();
  if (!store) return {};
  const auto image = store->find(definition.image);
  return image ? image->oci : image::OciConfig{};
}

Result<int> run_container(const Parsed& options) {
  TRY_ASSIGN(ContainerDefinition definition, definition_from_options(options));
  TRY(check_terminal(options));
  const bool quiet = options.has("quiet"), detach = options.has("detach");
  TRY_ASSIGN(const image::Image image, image_for_run(definition.image_name, quiet, ImageUse::container));
  domain::take_image(definition, image);
  if (definition.name.empty()) definition.name = ContainerStore().fresh_name(definition.image_name);
  TRY(definition.validate());
  if (options.has("dry-run")) {
    const std::string json = definition.to_json();
    std::fwrite(json.data(), 1, json.size(), stdout);
    return 0;
  }
  const ContainerStore store;
  TRY(domain::resolve_joined(store, definition));
  TRY_ASSIGN(domain::ContainerStart start, start_of({definition, {}}, quiet));
  TRY_ASSIGN(const Container container, store.create(std::move(definition), [&](const Container& made) { return domain::adapt_root(made, image); }));
  ScopeExit undo([&] { (void)store.remove(container); });
  if (options.has("cidfile")) TRY(write_id_file(options.last("cidfile"), container.definition.id));
  ScopeExit forget_id([&] {
    if (options.has("cidfile")) ::unlink(options.last("cidfile").c_str());
  });
  start.wait_for_client = !detach;
  if (container.definition.terminal && !detach) {
    const host::TerminalSize size = host::terminal_size(host::is_terminal(STDIN_FILENO) ? STDIN_FILENO : STDOUT_FILENO);
    start.terminal_size = {static_cast<u16>(size.columns), static_cast<u16>(size.rows)};
  }
  if (auto started = domain::start_container(store, container, start); !started) {
    if (const int code = told(started.error()); code != 0) return code;
    return std::unexpected(std::move(started.error()));
  }
  undo.release();
  forget_id.release();
  if (detach) {
    fmt::print("{}\n", container.definition.name);
    return 0;
  }
  bool left = false;
  TRY_ASSIGN(const int code, at_console(container, {.input = container.definition.interactive, .terminal = container.definition.terminal, .start = true}, &left));
  // What is to be removed is gone when we are, unless the user has left it running.
  constexpr int patience_ms = 10'000, step_ms = 2;
  for (int waited = 0; container.definition.remove && !left && waited < patience_ms && store.running(container); waited += step_ms) ::usleep(step_ms * 1000);
  return code;
}

}  // namespace nagaya::cli
