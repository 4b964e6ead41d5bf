// Images, networks and volumes.
#include <fmt/format.h>

#include "api/core.hpp"

namespace nagaya::api {
namespace {

Answer<Reply> listed(const Result<Json>& list) {
  if (!list) return std::unexpected(problem_of(list.error()));
  return json_reply(*list);
}

// Images are known by name and by the beginning of their id.
Answer<Reply> one_of(const Result<Json>& list, const std::string& name, const char* what) {
  if (!list) return std::unexpected(problem_of(list.error()));
  const Json* by_id = nullptr;
  for (const Json& one : *list) {
    if (one.value("name", "") == name || one.value("name", "") == name + ":latest") return json_reply(one);
    if (name.size() >= 6 && one.value("id", "").starts_with(name)) by_id = &one;
  }
  if (by_id != nullptr) return json_reply(*by_id);
  return refuse(404, fmt::format("there is no {} '{}'", what, name));
}

Answer<Reply> removed(const Result<>& done) {
  if (!done) return std::unexpected(problem_of(done.error()));
  return Reply{.status = 204};
}

Answer<Reply> made(const Result<Json>& object, const char* path) {
  if (!object) return std::unexpected(problem_of(object.error()));
  Reply out = json_reply(*object, 201);
  out.headers.emplace_back("Location", fmt::format("/v1/{}/{}", path, object->value("name", "")));
  return out;
}

Answer<Reply> list_images(Core& core, Call&) { return listed(core.backend.objects().images()); }
Answer<Reply> get_image(Core& core, Call& call) { return one_of(core.backend.objects().images(), call.text("image"), "image"); }
Answer<Reply> delete_image(Core& core, Call& call) { return removed(core.backend.objects().remove_image(call.text("image"))); }

Answer<Reply> pull_image(Core& core, Call& call) {
  const std::string reference = call.body.at("reference");
  Objects& objects = core.backend.objects();
  return start_operation(core, call, {.kind = "pull", .target = reference, .key = "image " + reference, .cancellable = true}, {},
                         [&objects, reference](Task& task) { return objects.pull(reference, task); });
}

Answer<Reply> list_networks(Core& core, Call&) { return listed(core.backend.objects().networks()); }
Answer<Reply> get_network(Core& core, Call& call) { return one_of(core.backend.objects().networks(), call.text("network"), "network"); }
Answer<Reply> create_network(Core& core, Call& call) { return made(core.backend.objects().create_network(call.body), "networks"); }
Answer<Reply> delete_network(Core& core, Call& call) { return removed(core.backend.objects().remove_network(call.text("network"))); }

Answer<Reply> list_volumes(Core& core, Call& call) {
  auto all = core.backend.objects().volumes();
  if (!all) return std::unexpected(problem_of(all.error()));
  Json out = Json::array();
  for (Json& volume : *all) {
    if (sees(call.caller, volume.value("project", default_project))) out.push_back(std::move(volume));
  }
  return json_reply(out);
}

Answer<Reply> get_volume(Core& core, Call& call) { return one_of(core.backend.objects().volumes(), call.text("volume"), "volume"); }

Answer<Reply> create_volume(Core& core, Call& call) {
  Json volume = call.body;
  if (!volume.contains("project")) volume["project"] = call.caller.confined() ? call.caller.projects[0] : default_project;
  return made(core.backend.objects().create_volume(volume), "volumes");
}

Answer<Reply> delete_volume(Core& core, Call& call) { return removed(core.backend.objects().remove_volume(call.text("volume"))); }

Answer<Reply> put(Core& core, const Call& call, Json document, const char* parameter) {
  const std::string name = call.text(parameter);
  if (document.value("name", "") != name) return refuse(400, "name: it is another than the path's", "name");
  const auto plan = core.backend.objects().put(document, call.flag("dryRun"));
  if (!plan) return std::unexpected(problem_of(plan.error()));
  return json_reply(*plan);
}

Answer<Reply> put_network(Core& core, Call& call) { return put(core, call, call.body, "network"); }

Answer<Reply> put_volume(Core& core, Call& call) {
  Json volume = call.body;
  const auto all = core.backend.objects().volumes();
  if (!all) return std::unexpected(problem_of(all.error()));
  bool exists = false;
  for (const Json& one : *all) {
    if (one.value("name", "") != call.text("volume")) continue;
    exists = true;
    const std::string project = one.value("project", default_project);
    if (auto ok = may_use(call.caller, project, "volume", call.text("volume")); !ok) return std::unexpected(ok.error());
    if (!volume.contains("project")) volume["project"] = project;
  }
  if (!exists && !volume.contains("project")) volume["project"] = call.caller.confined() ? call.caller.projects[0] : default_project;
  return put(core, call, std::move(volume), "volume");
}

constexpr HandlerEntry handlers[] = {
    {"listImages", list_images},       {"getImage", get_image},           {"pullImage", pull_image},         {"deleteImage", delete_image},
    {"listNetworks", list_networks},   {"getNetwork", get_network},       {"createNetwork", create_network}, {"deleteNetwork", delete_network},
    {"listVolumes", list_volumes},     {"getVolume", get_volume},         {"createVolume", create_volume},   {"deleteVolume", delete_volume},
    {"putNetwork", put_network},       {"putVolume", put_volume},
};

}  // namespace

std::span<const HandlerEntry> object_handlers() { return handlers; }

}  // namespace nagaya::api
