//! Where the job page says that a trainer runs.

use serde_json::{Value, json};

use crate::{browser::Browser, common::process::Process};

async fn shown(browser: &Browser, job: Value) -> Value {
    let script = "const job = arguments[0];
        return import(new URL('static/placement.js', location)).then(({ placement }) => {
            const node = placement(job);
            return node && [node.innerText ?? node.textContent, node.querySelector('a')?.href ?? null];
        })";
    browser.client.execute(script, vec![job]).await.unwrap()
}

#[tokio::test]
async fn a_job_on_a_cluster_says_where_it_runs_and_what_it_waits_for() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let Some(browser) = Browser::open(&server).await else { return };
    let placement = |state: &str, rest: Value| {
        let mut placement = json!({ "executor": "ray", "state": state, "attempt": "a", "id": null,
            "node": null, "url": null, "message": null });
        placement.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        json!({ "status": if state == "ended" { "succeeded" } else { "running" }, "placement": placement })
    };
    let page = "http://head:8265/#/jobs/7";
    for (job, text, link) in [
        (
            placement("submitting", json!({ "message": "can't reach Ray" })),
            "Submitting to RayCan't reach Ray",
            None,
        ),
        (
            placement("waiting", json!({ "id": "7", "url": page, "message": "no CPU" })),
            "Submitted to Ray, id 7No CPU",
            Some(page),
        ),
        (
            placement("running", json!({ "id": "7", "url": page, "node": "gpu1" })),
            "Runs in Ray on node gpu1, id 7",
            Some(page),
        ),
        (
            placement("ended", json!({ "executor": "slurm", "id": "7", "node": "gpu1" })),
            "Ran in Slurm on node gpu1, id 7",
            None,
        ),
        (placement("ended", json!({})), "Not started in Ray", None),
    ] {
        assert_eq!(shown(&browser, job).await, json!([text, link]));
    }
    let local = json!({ "status": "running", "placement": null });
    assert_eq!(shown(&browser, local).await, Value::Null);
    assert_eq!(shown(&browser, json!({ "status": "running" })).await, Value::Null);
}
