// Definitions: YAML, then the schema, then what makes domains of them.
#include "definition/container.hpp"
#include "definition/document.hpp"
#include "definition/machine.hpp"
#include "definition/objects.hpp"
#include "fuzz.hpp"

using namespace nagaya;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  const auto documents = definition::read_documents({reinterpret_cast<const char*>(data), size}, "input");
  if (!documents) return 0;
  for (const definition::Json& one : *documents) {
    // What is valid is written so that it reads the same.
    const auto again = definition::read_yaml(definition::write_yaml(one));
    if (!again || again->size() != 1 || (*again)[0] != one) __builtin_trap();
    if (one["kind"] == "network") {
      (void)definition::network_of(one, {});
    } else if (one["kind"] == "container") {
      if (const auto made = definition::container_definition_of(one, "image")) (void)definition::container_document(*made);
    } else if (one["kind"] == "vm") {
      const auto policy = definition::machine_policy_of(one);
      if (const auto made = definition::machine_spec_of(one, "image"); made && policy) (void)definition::machine_document(*made, {}, *policy);
    }
  }
  return 0;
}

namespace nagaya::fuzz {

std::vector<std::vector<u8>> seeds() {
  std::vector<std::vector<u8>> out;
  for (const std::string_view text :
       {"kind: container\nname: web\nimage: debian\ncommand: [sh, -c, \"x: y\"]\nlimits: {memory: 512M, cpus: 1.5}\nrestart:\n  policy: always\nvolumes:\n- data:/d\n---\nkind: network\nname: lab\nsubnet: 10.1.0.0/24\n",
        "kind: vm\nname: m\nimage: debian\nuserData: |\n  #cloud-config\n  a: b\nhardware:\n  disks:\n  - path: /d\n    format: qcow2\n  nets: [{tap: t, queues: 2}]\n",
        "a: &x [1, 2]\nb: *x\nc: {<<: *x}\n? k\n: v\n", "- {kind: volume, name: v, labels: {a: b}}\n- {\"kind\": \"network\", \"name\": \"n\"}\n",
        "%YAML 1.2\n---\n!!map {kind: !!str volume, name: 'v'}\n...\n", "kind: volume\nname: >-\n  v\nproject: \"d\\x41\"\n"}) {
    out.emplace_back(text.begin(), text.end());
  }
  return out;
}

}  // namespace nagaya::fuzz
