#include <fmt/format.h>

#include <cerrno>
#include <csignal>

#include "api/local/container_view.hpp"
#include "api/local/life.hpp"
#include "definition/limits.hpp"
#include "domain/container_image.hpp"
#include "image/store.hpp"

namespace nagaya::api {
namespace {

using domain::Container;
using domain::ContainerStore;

// What the image says of its end; nothing when it cannot be read.
image::OciConfig image_config(const Container& container) {
  const auto images = image::Store::open();
  if (!images) return {};
  const auto image = images->find(container.definition.image);
  return image ? image->oci : image::OciConfig{};
}

Result<> stop(const ContainerStore& store, const Container& container, const Json& action, Task& task) {
  const unsigned seconds = action.value("timeout", container.definition.stop_timeout);
  const image::OciConfig image = image_config(container);
  // In slices of the domain's own stop: the first asks, the last ends it by force.
  const auto ask = [&] { return domain::ask_container_to_stop(store, container, image); };
  if (domain::container_paused(container)) return domain::stop_container(store, container, image, seconds);
  TRY(end_slowly([&] { return store.running(container); }, ask, seconds, task));
  return domain::stop_container(store, container, image, 0);
}

Result<> hold(const ContainerStore& store, const Container& container, Verb verb) {
  const bool paused = domain::container_paused(container);
  if (paused == (verb == Verb::pause)) return of_code(EBUSY, fmt::format("'{}' is {}", container.definition.name, paused ? "paused" : "running"));
  return verb == Verb::pause ? domain::pause_container(store, container) : domain::resume_container(store, container);
}

}  // namespace

Result<> update_container_by(const ContainerStore& store, Container container, const Json& update) {
  if (update.contains("limits") || update.contains("restart")) {
    TRY_ASSIGN(const domain::DomainLimits limits, definition::limits_of(update.value("limits", Json::object()), container.definition.limits));
    std::optional<domain::RestartPolicy> restart;
    if (update.contains("restart")) {
      TRY_ASSIGN(restart, definition::restart_of(update["restart"]));
    }
    auto done = domain::update_container(store, container, limits, restart);
    if (!done) {
      if (done.error().code == 0) done.error().code = EINVAL;
      return done;
    }
  }
  if (!update.contains("labels") && !update.contains("autostart")) return {};
  if (update.contains("autostart")) container.definition.autostart = update["autostart"];
  if (update.contains("labels")) {
    const std::string project = definition::project_of(container.definition);
    container.definition.labels.clear();
    for (const auto& [key, value] : update["labels"].items()) {
      if (key == definition::project_label) return of_code(EINVAL, fmt::format("labels.{}", key), "that label is the project's");
      container.definition.labels[key] = value;
    }
    if (project != "default") container.definition.labels[definition::project_label] = project;
  }
  return store.save(container);
}

Result<> act_on_container(const ContainerStore& store, const Container& container, Verb verb, const Json& action, Task& task) {
  const std::string& name = container.definition.name;
  const bool running = store.running(container);
  if (verb == Verb::rename) {
    if (running) return of_code(EBUSY, fmt::format("'{}' runs", name), "a container gets another name while it is stopped");
    TRY(store.rename(container, action.at("name").get<std::string>()));
    return {};
  }
  if (verb == Verb::start) return running ? of_code(EBUSY, fmt::format("'{}' runs already", name)) : start_domain(name, task);
  if (verb == Verb::restart) {
    if (running) TRY(stop(store, container, action, task));
    return start_domain(name, task);
  }
  // What a killed monitor has left ends with it.
  if (!running && verb == Verb::stop) return domain::stop_container(store, container, {}, 0);
  if (!running) return of_code(EBUSY, fmt::format("'{}' does not run", name));
  if (verb == Verb::stop) return stop(store, container, action, task);
  if (verb == Verb::pause || verb == Verb::resume) return hold(store, container, verb);
  const auto signal = domain::parse_signal(action.value("signal", "KILL"));
  if (!signal) return of_code(EINVAL, signal.error().message());
  return domain::kill_container(store, container, *signal);
}

}  // namespace nagaya::api
