//! Subaccounts and numbers through Twilio's REST API: asked by the real `strowgerctl`, answered by a stub that Twilio's own client
//! reads as Twilio.

use std::process::Stdio;
use std::sync::Arc;

use hyper::Method;
use serde_json::{Value, json};
use strowger::control::clusters::Isolation;
use strowger::control::tenants::Tenant;

use crate::crash::tapped::{Tapped, deaths, in_lanes};
use crate::support::twilio_api::{Failing, Hold, INVALID, TwilioApi, UNAVAILABLE};
use crate::support::{Account, Ran, World, official_rest, strowgerctl, world};

const NUMBER: &str = "+12125550101";

/// A platform account at a stub, and where both are.
async fn at_twilio(w: &World) -> (TwilioApi, Account) {
    let account = w.account(1, None).await;
    let api = TwilioApi::start(&[&account]).await;
    w.ctl(&["platform", "set", "twilio_base_url", &api.base_url]).json();
    w.ctl(&["platform", "set", "public_url", "https://calls.example/"]).json();
    (api, account)
}

fn buy(w: &World, number: &str, tenant: &Tenant) -> Ran {
    w.ctl(&["number", "buy", number, "--tenant", &tenant.id.to_string()])
}

fn create(w: &World, tenant: &Tenant) -> Ran {
    w.ctl(&["account", "create", "--provider", "twilio", "--tenant", &tenant.id.to_string()])
}

/// Refused with exit code 3, in these words.
fn refused(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
}

fn points_here(api: &TwilioApi, number: &str, base: &str) {
    let owned = api.number(number).unwrap();
    for (field, path) in
        [("voice_url", "/call/incoming"), ("status_callback", "/call/status"), ("sms_url", "/sms/incoming")]
    {
        assert_eq!(owned[field], format!("{base}{path}"));
    }
    for method in ["voice_method", "status_callback_method", "sms_method"] {
        assert_eq!(owned[method], "POST");
    }
}

async fn audited(w: &World, action: &str) -> i64 {
    let control = w.superuser("control", &w.prefix.name("control")).await;
    control.query_one("select count(*) from audit where action = $1", &[&action]).await.unwrap().get(0)
}

#[test]
fn twilios_own_client_reads_what_the_stub_answers() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let account = Account::new(1);
    let api = runtime.block_on(TwilioApi::start(&[&account]));
    let said = official_rest::ask(&api, &account);
    assert_eq!(said["paged"], json!(["Sub 2", "Sub 1", "Sub 0", "main"]), "over two pages");
    assert_eq!(said["named"][0], json!([said["named"][1]]));
    let capabilities = json!({ "voice": true, "SMS": true, "MMS": true });
    assert_eq!(said["found"], json!(["+14155550123", "New York", capabilities]));
    let urls = ["https://a.example/v", "https://a.example/s", "https://a.example/m"];
    assert_eq!(said["listed"], json!([[said["bought"], urls[0], urls[1], urls[2]]]));
    assert_eq!(said["changed"], "https://b.example/v");
    assert_eq!(said["refusals"], json!([[400, 21422], [400, 21422], [400, 21421]]));
    assert_eq!((&said["forged"], &said["elsewhere"]), (&json!([401, 20003]), &json!([404, 20404])));
    assert_eq!((&said["deleted"], &said["again"], &said["left"]), (&json!(true), &json!([404, 20404]), &json!(0)));
    assert_eq!((&said["closed"], &said["after"]), (&json!("closed"), &json!([401, 20005])));
}

#[test]
fn a_number_is_searched_bought_and_answered() {
    world(async |w| {
        let (api, account) = at_twilio(&w).await;
        let tenant = w.tenant("Harbour", Isolation::Schema).await;
        let search =
            ["number", "search", "--country", "US", "--area-code", "212", "--contains", "0101", "--limit", "3"];
        let found = w.ctl(&search).json();
        let expected = json!([{ "number": NUMBER, "locality": "New York", "region": "NY", "voice": true, "sms": true,
                                "address_required": "none" }]);
        assert_eq!(found, expected);
        let limited = w.ctl(&["number", "search", "--country", "US", "--type", "toll-free", "--limit", "7"]).json();
        assert_eq!(limited.as_array().unwrap().len(), 7);

        let bought = buy(&w, NUMBER, &tenant).json();
        assert_eq!((&bought["bought"], &bought["account"]), (&json!(true), &json!(account.sid)));
        assert_eq!(bought["customer_id"], json!(tenant.id));
        points_here(&api, NUMBER, "https://calls.example");
        let again = buy(&w, NUMBER, &tenant).json();
        assert_eq!((&again["bought"], api.purchases(NUMBER), audited(&w, "number.buy").await), (&json!(false), 1, 1));

        w.configure(tenant.id, &json!({ "agent_name": "Ada" })).await;
        let said = account.dial(&w.server(), "+18005550199", NUMBER).await.text().await.unwrap();
        assert!(said.contains("Ada"), "{said}");
        // What Twilio is told to call is what a server serves.
        let served: Vec<&str> = strowger::http::map::routes().iter().map(|row| row.path).collect();
        assert!(served.contains(&"/call/incoming") && served.contains(&"/call/status"));
    });
}

/// Turns red when `create` does not look for what there is, or when `buy` prefers the platform's account.
#[test]
fn a_tenant_gets_one_subaccount_and_buys_there() {
    world(async |w| {
        let (api, platform) = at_twilio(&w).await;
        let tenant = w.tenant("Harbour", Isolation::Schema).await;
        let id = tenant.id.to_string();
        let made = create(&w, &tenant).json();
        let subaccounts = api.subaccounts("Harbour (");
        let [(sid, token)] = subaccounts.as_slice() else { panic!("{subaccounts:?}") };
        assert_eq!((&made["id"], &made["customer_id"]), (&json!(sid), &json!(tenant.id)));
        assert_eq!(create(&w, &tenant).json(), made);
        assert_eq!(api.subaccounts("Harbour (").len(), 1);
        let listed = w.ctl(&["account", "list"]).json();
        let owners: Vec<(&Value, &Value)> =
            listed.as_array().unwrap().iter().map(|account| (&account["id"], &account["owner"])).collect();
        assert_eq!(owners, [(&json!(platform.sid), &json!("platform")), (&json!(sid), &json!("tenant"))]);

        // Its own account comes first, and its own token signs.
        assert_eq!(buy(&w, NUMBER, &tenant).json()["account"], json!(sid));
        assert_eq!(api.number(NUMBER).unwrap()["account_sid"], *sid);
        let own = Account { sid: sid.clone(), token: token.clone() };
        assert_eq!(own.dial(&w.server(), "+18005550199", NUMBER).await.status(), 200);
        let found = w.ctl(&["number", "search", "--country", "KE", "--type", "mobile", "--tenant", &id]).json();
        assert_eq!(found.as_array().unwrap().len(), 20);

        let other = ["account", "create", "--provider", "twilio", "--tenant", &id, "--friendly-name", "Pier"];
        refused(&w.ctl(&other), &["asked for as \"Harbour (", "--friendly-name"]);
        let second = w.tenant("Second", Isolation::Schema).await;
        w.account(7, Some(second.id)).await;
        refused(&create(&w, &second), &["has account AC", "already: nothing was made"]);
        assert!(api.subaccounts("Second").is_empty());

        // Closed: gone there and here, and a new one may be made.
        let close = ["account", "close", sid, "--confirm", sid];
        refused(&w.ctl(&close), &[NUMBER, "number release"]);
        w.ctl(&["number", "release", NUMBER]).json();
        refused(&w.ctl(&["account", "close", &platform.sid, "--confirm", &platform.sid]), &["the platform's"]);
        w.ctl(&close).json();
        assert_eq!((api.number(NUMBER), api.subaccounts("Harbour (").len()), (None, 0));
        assert_ne!(create(&w, &tenant).json()["id"], made["id"]);
    });
}

/// Turns red when what buys or makes is sent twice, or when a lost answer is taken for a refusal.
#[test]
fn an_answer_that_is_lost_is_found_by_asking_what_there_is() {
    world(async |w| {
        let (api, _) = at_twilio(&w).await;
        let tenant = w.tenant("Harbour", Isolation::Schema).await;
        for (number, how) in [("+12125550111", Failing::Lost), ("+12125550112", Failing::DoneAndBadGateway)] {
            api.fail(&Method::POST, &[how]);
            assert_eq!(buy(&w, number, &tenant).json()["bought"], json!(true), "{how:?}");
            assert_eq!(api.purchases(number), 1, "{how:?}");
        }
        for (name, how) in [("Lost", Failing::Lost), ("Gateway", Failing::DoneAndBadGateway)] {
            let tenant = w.tenant(name, Isolation::Schema).await;
            api.fail(&Method::POST, &[how]);
            let made = create(&w, &tenant).json();
            let subaccounts = api.subaccounts(name);
            assert_eq!((subaccounts.len(), &made["id"]), (1, &json!(subaccounts[0].0)), "{how:?}");
        }
    });
}

#[test]
fn what_fails_for_a_while_is_to_be_run_again() {
    world(async |w| {
        let (api, _) = at_twilio(&w).await;
        let tenant = w.tenant("Harbour", Isolation::Schema).await;
        // What only looks is repeated at once.
        api.fail(&Method::GET, &[Failing::Busy("0")]);
        w.ctl(&["number", "search", "--country", "US"]).json();
        api.fail(&Method::GET, &[Failing::Status(500)]);
        w.ctl(&["number", "search", "--country", "US"]).json();
        for how in [Failing::Status(500), Failing::Busy("0"), Failing::Status(503)] {
            api.fail(&Method::POST, &[how]);
            api.seen();
            let ran = buy(&w, NUMBER, &tenant);
            assert_eq!(ran.code, Some(4), "{how:?}: {}", ran.stderr);
            assert!(ran.stderr.contains("run the same command again"), "{}", ran.stderr);
            let posts = api.seen().iter().filter(|line| line.starts_with("POST")).count();
            assert_eq!((posts, api.purchases(NUMBER)), (1, 0), "{how:?}: sent once");
        }
        api.fail(&Method::GET, &[Failing::Garbage]);
        refused(&buy(&w, NUMBER, &tenant), &["something else than JSON", "twilio_base_url"]);
        w.ctl(&["platform", "set", "twilio_base_url", "http://127.0.0.1:1"]).json();
        assert_eq!(buy(&w, NUMBER, &tenant).code, Some(4));
        w.ctl(&["platform", "set", "twilio_base_url", &api.base_url]).json();
        buy(&w, NUMBER, &tenant).json();
        assert_eq!(api.purchases(NUMBER), 1);
    });
}

#[test]
fn refusals_say_what_to_do() {
    world(async |w| {
        let tenant = w.tenant("Harbour", Isolation::Schema).await;
        let other = w.tenant("Other", Isolation::Schema).await;
        refused(&buy(&w, NUMBER, &tenant), &["platform set public_url"]);
        w.ctl(&["platform", "set", "public_url", "https://calls.example"]).json();
        refused(&buy(&w, NUMBER, &tenant), &["strowgerctl account add --provider twilio"]);
        refused(&create(&w, &tenant), &["strowgerctl account add --provider twilio"]);
        refused(&w.ctl(&["number", "search", "--country", "US"]), &["strowgerctl account add --provider twilio"]);

        let (api, account) = at_twilio(&w).await;
        refused(&buy(&w, UNAVAILABLE, &tenant), &["error 21422", "strowgerctl number search"]);
        refused(&buy(&w, INVALID, &tenant), &["error 21421", "no number that Twilio knows"]);
        let bundle = ["Bundle required and not provided", "https://www.twilio.com/docs/errors/21649"];
        refused(&buy(&w, "+442071838750", &tenant), &bundle);
        refused(&w.ctl(&["number", "search", "--country", "AQ"]), &["none of these in that country"]);
        buy(&w, NUMBER, &other).json();
        refused(&buy(&w, NUMBER, &tenant), &["strowgerctl number assign", "nothing was bought"]);
        let elsewhere = ["number", "configure", "+12125550109"];
        refused(&w.ctl(&elsewhere), &["is not known here"]);
        for bad in ["http://calls.example", "ftp://a.example", "https://a.example/?q", "calls.example"] {
            for name in ["public_url", "twilio_base_url"] {
                refused(&w.ctl(&["platform", "set", name, bad]), &[name, "https://"]);
            }
        }
        for typed in [["--country", "us"], ["--area-code", "12"], ["--contains", "a b"], ["--limit", "0"]] {
            let country = if typed[0] == "--country" { &[][..] } else { &["--country", "US"] };
            let ran = w.ctl(&[&["number", "search"], country, &typed[..]].concat());
            assert_eq!(ran.code, Some(2), "{typed:?}");
        }

        // A token that Twilio does not take, a tenant's own among them; no token is ever shown.
        let wrong = "not-the-token";
        w.ctl_with(&["account", "add", "--provider", "twilio", "--id", &account.sid], wrong).json();
        let ran = buy(&w, "+12125550120", &tenant);
        refused(&ran, &["error 20003", &format!("account add --provider twilio --id {}`", account.sid)]);
        assert!(![&ran.stdout, &ran.stderr].iter().any(|text| text.contains(wrong)));
        let own = w.account(9, Some(tenant.id)).await;
        refused(&buy(&w, "+12125550120", &tenant), &[&format!("--id {} --tenant {}`", own.sid, tenant.id)]);
        assert_eq!(api.purchases("+12125550120"), 0);
    });
}

#[test]
fn webhooks_follow_the_public_url() {
    world(async |w| {
        let (api, _) = at_twilio(&w).await;
        let tenant = w.tenant("Harbour", Isolation::Schema).await;
        let second = "+12125550102";
        for number in [NUMBER, second] {
            buy(&w, number, &tenant).json();
        }
        let all = || w.ctl(&["number", "configure", "--all"]);
        let changed =
            |shown: &Value| shown.as_array().unwrap().iter().map(|n| n["changed"] == true).collect::<Vec<_>>();
        assert_eq!(changed(&all().json()), [false, false]);
        w.ctl(&["platform", "set", "public_url", "https://moved.example/calls"]).json();
        assert_eq!(changed(&w.ctl(&["number", "configure", second]).json()), [true]);
        assert_eq!(changed(&all().json()), [true, false]);
        points_here(&api, NUMBER, "https://moved.example/calls");
        points_here(&api, second, "https://moved.example/calls");
        assert_eq!(audited(&w, "number.configure").await, 2);

        // An application would be asked instead of the URLs.
        api.meddle(NUMBER, "voice_application_sid", "AP1");
        api.meddle(second, "sms_method", "GET");
        assert_eq!(changed(&all().json()), [true, true]);
        assert_eq!(api.number(NUMBER).unwrap()["voice_application_sid"], "");
        points_here(&api, second, "https://moved.example/calls");

        // One that Twilio does not have is named, and the others are done.
        let account = w.account(1, None).await;
        w.assign("+12125550100", tenant.id, &account).await;
        api.meddle(second, "sms_method", "GET");
        let ran = all();
        assert_eq!(ran.code, Some(5), "{}", ran.stderr);
        assert!(ran.stderr.contains("1 of 3 numbers") && ran.stderr.contains("+12125550100"), "{}", ran.stderr);
        points_here(&api, second, "https://moved.example/calls");
    });
}

#[test]
fn a_number_is_given_back() {
    world(async |w| {
        let (api, account) = at_twilio(&w).await;
        let tenant = w.tenant("Harbour", Isolation::Schema).await;
        buy(&w, NUMBER, &tenant).json();
        w.ctl(&["number", "release", NUMBER]).json();
        assert!(api.number(NUMBER).is_some(), "only with --at-provider");
        buy(&w, NUMBER, &tenant).json();
        let release = ["number", "release", NUMBER, "--at-provider"];
        // Twilio away: nothing is half done.
        api.fail(&Method::GET, &[Failing::Status(500), Failing::Status(500)]);
        assert_eq!(w.ctl(&release).code, Some(4));
        assert_eq!(w.ctl(&["number", "list"]).json()[0]["state"], "active");
        // Its answer lost: run again.
        api.fail(&Method::DELETE, &[Failing::Lost]);
        assert_eq!(w.ctl(&release).code, Some(4));
        w.ctl(&release).json();
        assert_eq!((api.number(NUMBER), api.purchases(NUMBER)), (None, 1));
        assert_eq!(w.ctl(&["number", "list"]).json()[0]["state"], "released");
        assert_eq!(account.dial(&w.server(), "+18005550199", NUMBER).await.status(), 404);
        refused(&w.ctl(&["number", "release", "whatsapp:1", "--at-provider"]), &["not a phone number"]);
    });
}

/// Turns red when `purchase` does not look first, or when the assignment comes before the purchase.
#[test]
fn killed_purchase_is_finished_when_run_again() {
    in_lanes(async |w, lane| {
        let (api, _) = at_twilio(&w).await;
        let tenant = w.tenant("Harbour", Isolation::Schema).await.id.to_string();
        let tapped = Tapped::new(&w).await;
        let (_, statements) = tapped.run(&["number", "buy", NUMBER, "--tenant", &tenant]).await;
        for (n, (at, moment)) in deaths(statements, lane).enumerate() {
            let number = format!("+1212556{n:04}");
            let buy = ["number", "buy", &number, "--tenant", &tenant];
            tapped.stop(at, moment, &buy).await;
            let (bought, _) = tapped.run(&buy).await;
            assert_eq!(bought["customer_id"].to_string(), tenant, "{moment:?} {at}");
            assert_eq!(api.purchases(&number), 1, "{moment:?} {at}");
            points_here(&api, &number, "https://calls.example");
        }
        let all = w.ctl(&["number", "list"]).json();
        assert!(all.as_array().unwrap().iter().all(|row| row["state"] == "active"), "{all}");
        println!("number buy: killed at each of {statements} statements ({lane:?})");
    });
}

/// Runs a command and kills it while Twilio holds its `at`th request; whether it came so far.
async fn killed_at(w: &World, api: &TwilioApi, at: usize, when: Hold, args: &[&str]) -> bool {
    api.hold(at, when);
    let mut command = tokio::process::Command::new(strowgerctl());
    command.arg("--config").arg(w.dir.join("strowgerctl.toml")).args(args);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let held = tokio::select! {
        () = api.held() => true,
        ended = child.wait() => !ended.unwrap().success(),
    };
    let _ = child.kill().await;
    held
}

/// Every moment at which Twilio may be waited for: the request, and whether it was done when we died.
const MOMENTS: [Hold; 2] = [Hold::BeforeItIsDone, Hold::BeforeItIsAnswered];

/// Turns red when the name of a subaccount is drawn anew each time, or when a purchase is not looked for.
#[test]
fn killed_while_twilio_is_waited_for_leaves_one_of_each() {
    world(async |w: Arc<World>| {
        let (api, _) = at_twilio(&w).await;
        let mut deaths = 0;
        for (at, when) in (1..=2).flat_map(|at| MOMENTS.map(|when| (at, when))) {
            let name = format!("T{at}{when:?}");
            let tenant = w.tenant(&name, Isolation::Schema).await;
            let id = tenant.id.to_string();
            let made = ["account", "create", "--provider", "twilio", "--tenant", &id];
            assert!(killed_at(&w, &api, at, when, &made).await, "{name}: no request {at}");
            let sid = create(&w, &tenant).json()["id"].clone();
            let subaccounts = api.subaccounts(&name);
            assert_eq!((subaccounts.len(), &sid), (1, &json!(subaccounts[0].0)), "{name}");

            let number = format!("+121255502{:02}", 2 * at + usize::from(when == MOMENTS[0]));
            assert!(killed_at(&w, &api, at, when, &["number", "buy", &number, "--tenant", &id]).await, "{number}");
            assert_eq!(buy(&w, &number, &tenant).json()["account"], sid);
            assert_eq!(api.purchases(&number), 1, "{name}");

            let give_back = ["number", "release", &number, "--at-provider"];
            assert!(killed_at(&w, &api, at, when, &give_back).await, "{name}: no request {at}");
            w.ctl(&give_back).json();
            assert_eq!(api.number(&number), None, "{name}");
            deaths += 3;
        }
        println!("account create, number buy, number release: killed at each of {deaths} moments of their requests");
    });
}
