"""Run by check.sh: validates each document, and what no schema knows: that names fit together."""

import sys
from pathlib import Path

import kubernetes_validate
import yaml

HERE = Path(__file__).parent
version, problems, documents = sys.argv[1], [], []

kustomization = yaml.safe_load((HERE / "kustomization.yaml").read_text())
for resource in kustomization["resources"]:
    if not (HERE / resource).is_file():
        problems.append(f"kustomization.yaml: {resource} does not exist")

for path in sorted(HERE.glob("*.yaml")):
    for document in yaml.safe_load_all(path.read_text()):
        name = f"{path.name}: {document['kind']} {document.get('metadata', {}).get('name', '')}"
        # Strimzi's and kustomize's own kinds have no schema here.
        if ".strimzi.io/" in document["apiVersion"] or document["kind"] == "Kustomization":
            print(f"{name}: not checked, it is not Kubernetes' own")
            continue
        documents.append(document)
        try:
            kubernetes_validate.validate(document, version, strict=True)
            print(f"{name}: ok")
        except kubernetes_validate.ValidationError as error:
            where = "/".join(str(part) for part in error.path)
            problems.append(f"{name}: {where}: {error.message}")


def of_kind(kind):
    return {d["metadata"]["name"]: d for d in documents if d["kind"] == kind}


services, secrets, maps = of_kind("Service"), of_kind("Secret"), of_kind("ConfigMap")
nodes = of_kind("StatefulSet")["headwater"]["spec"]
labels = nodes["template"]["metadata"]["labels"].items()


def expect(fact, problem):
    if not fact:
        problems.append(problem)


expect(nodes["selector"]["matchLabels"].items() <= labels, "the nodes' selector misses them")
expect(nodes["serviceName"] in services, "the nodes' service does not exist")
for name, service in services.items():
    expect(service["spec"]["selector"].items() <= labels, f"service {name} finds no node")
budget = of_kind("PodDisruptionBudget")["headwater"]["spec"]["selector"]["matchLabels"]
expect(budget.items() <= labels, "the disruption budget covers no node")
for spec in (nodes, of_kind("Job")["headwater-migrate"]["spec"]):
    pod = spec["template"]["spec"]
    for volume in pod["volumes"]:
        expect(volume["secret"]["secretName"] in secrets, "a mounted secret has no example")
    for container in pod["containers"]:
        for source in container.get("envFrom", []):
            expect(source["configMapRef"]["name"] in maps, "settings come from nowhere")
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                held = secrets.get(reference["name"], {}).get("stringData", {})
                expect(reference["key"] in held, f"no secret holds {reference['key']}")
mounted = secrets["headwater"]["stringData"]
for key, value in maps["headwater"]["data"].items():
    if key.endswith("_FILE"):
        expect(Path(value).name in mounted, f"{key}: no such file in the secret")

print("\n".join(f"error: {problem}" for problem in problems) or f"all fit Kubernetes {version}")
sys.exit(bool(problems))
