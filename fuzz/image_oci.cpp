// The JSON documents of OCI images, and our own manifests: the first byte chooses which. What comes out has been checked.
#include <algorithm>
#include <cstdlib>
#include <string>

#include "fuzz.hpp"
#include "image/digest.hpp"
#include "image/manifest.hpp"
#include "image/oci.hpp"

namespace {

using namespace nagaya;

const std::string hash(64, 'a');

void check(const image::OciDescriptor& one) {
  if (!image::is_sha256(one.sha256)) std::abort();
}

bool clean(const std::vector<std::string>& words) {
  return std::ranges::all_of(words, [](const std::string& word) { return word.find('\0') == std::string::npos; });
}

}  // namespace

std::vector<std::vector<u8>> nagaya::fuzz::seeds() {
  const std::string descriptor = R"({"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:)" + hash + R"(","size":12,"platform":{"architecture":"amd64","os":"linux"}})";
  std::vector<std::vector<u8>> out;
  for (const std::string& text : {"0" + (R"({"schemaVersion":2,"manifests":[)" + descriptor + "]}"),
                                  "1" + (R"({"schemaVersion":2,"config":)" + descriptor + R"(,"layers":[)" + descriptor + "]}"),
                                  std::string(R"(2{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"],"Env":["A=b"],"User":"u","Volumes":{"/d":{}},"Labels":{"a":"b"}}})"),
                                  "3" + (R"({"version":1,"kind":"kernel","created":1,"source":"","blobs":{"kernel":{"sha256":")" + hash + R"(","size":1}}})")}) {
    out.emplace_back(text.begin(), text.end());
  }
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 4) {
    case 0:
      if (const auto index = image::parse_oci_index(text)) std::ranges::for_each(*index, check);
      break;
    case 1:
      if (const auto manifest = image::parse_oci_manifest(text)) {
        check(manifest->config);
        std::ranges::for_each(manifest->layers, check);
      }
      break;
    case 2:
      if (const auto config = image::parse_oci_config(text)) {
        if (!clean(config->cmd) || !clean(config->entrypoint) || !clean(config->env) || !clean({config->user, config->workdir})) std::abort();
      }
      break;
    default:
      if (const auto manifest = image::Manifest::from_json(text, "m")) {
        if (image::Manifest::from_json(manifest->to_json(), "m") != *manifest) std::abort();
      }
  }
  return 0;
}
