"""The page of export.py in a real browser: it gives the same answers as the package."""

import base64
import math
import os
import re
import shutil

import numpy as np
import pytest

import ann
from ann.analysis.inspection import feature_maps
from ann.data.catalog import DIGIT_CHECK
from ann.export.web_page import web_page
from ann.nn.activations import ACTIVATIONS, Activation
from support.networks import network_of
from support.own_activations import OWN, UNTRANSLATABLE, none
from support.programs import FAST, run

pytestmark = pytest.mark.slow


# Round a circle, for the curves of digits; angles in degrees
def arc(x, y, wide, high, start, end, step=15):
    turns = range(start, end + 1, step) if end > start else range(start, end - 1, -step)
    return [
        (x + wide * math.cos(math.radians(turn)), y + high * math.sin(math.radians(turn)))
        for turn in turns
    ]


DIGITS = {
    "0": [arc(140, 140, 55, 85, -90, 270)],
    "1": [[(140, 50), (140, 95), (140, 140), (140, 185), (140, 230)]],
    "2": [[*arc(140, 95, 50, 45, -170, 30), (95, 215), (200, 215)]],
    "3": [arc(140, 95, 45, 38, -140, 90) + arc(140, 178, 50, 45, -90, 140)],
    "7": [[(80, 65), (140, 62), (205, 62), (170, 140), (130, 230)]],
}


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium; required with ANN_REQUIRE_BROWSER=1."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if os.environ.get("ANN_REQUIRE_BROWSER") != "1":
        pytest.importorskip("selenium")
        if not (chromium and driver):
            pytest.skip("no chromium with its driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-sync",
    ):
        options.add_argument(f"--{word}")
    for word in ("disable-background-networking", "disable-component-update", "hide-scrollbars"):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield window
    window.quit()


@pytest.fixture(scope="module")
def network():
    """Trained for three seconds."""
    data = ann.load_dataset("mnist")
    recipe = ann.Recipe(hidden=(64,), epochs=3)
    net = ann.NeuralNetwork(recipe.layer_list(784, 10), recipe.loss)
    ann.fit(net, data, recipe)
    return net


@pytest.fixture(scope="module")
def convolutional():
    """Trained for a few seconds."""
    data = ann.load_dataset("mnist")
    hidden = ("conv8x5", "pool2", "conv16x3", "average2", 32)
    recipe = ann.Recipe(hidden=hidden, activation="relu", output_activation="softmax", epochs=1)
    net = ann.NeuralNetwork(recipe.layer_list(784, 10), recipe.loss)
    part = data.train_images[:20_000], data.train_labels[:20_000]
    ann.fit(net, ann.Dataset(*part, data.test_images, data.test_labels), recipe)
    return net


@pytest.fixture
def page(browser, tmp_path):
    """Open the page of a network. It must print nothing to the console and load nothing from the
    web.
    """
    wide(browser)

    def open_page(net, *classes):
        (tmp_path / "page.html").write_text(web_page(net, *classes), encoding="utf-8")
        browser.get_log("performance")
        browser.get((tmp_path / "page.html").as_uri())
        return browser

    yield open_page
    assert browser.get_log("browser") == []
    asked = re.findall(r'"url":"((?:http|ws)[^"]*)', str(browser.get_log("performance")))
    assert asked == []


def wide(browser, width=1100, height=1000, mobile=False, dark=False):
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": mobile})
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def draw(browser, strokes, kind="mouse"):
    """Draw with a mouse or a finger, in the coordinates of the canvas."""
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    pad = browser.find_element("id", "pad")
    scale = pad.size["width"] / 280
    for stroke in strokes:
        actions = ActionBuilder(browser, mouse=PointerInput(kind, kind), duration=5)
        for number, (x, y) in enumerate(stroke):
            actions.pointer_action.move_to(pad, round((x - 140) * scale), round((y - 140) * scale))
            if number == 0:
                actions.pointer_action.pointer_down()
        actions.pointer_action.pointer_up()
        actions.perform()
    frame(browser)


def frame(browser):
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")


def answer(browser):
    frame(browser)
    return browser.find_element("id", "answer").text


def computed(browser, images, field="outputs"):
    """What the page computes from uint8 images (N, I)."""
    script = """
        const [text, size, field] = arguments, found = [];
        const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
        for (let i = 0; i < bytes.length; i += size)
            found.push(run(bytes.subarray(i, i + size))[field]);
        return found.map(one => field === "outputs" ? Array.from(one) : one);"""
    text = base64.b64encode(images.tobytes()).decode()
    return np.array(browser.execute_script(script, text, images.shape[1], field))


@pytest.mark.parametrize("name", ["network", "convolutional"])
def test_a_thousand_images_as_in_python(page, name, request):
    network = request.getfixturevalue(name)
    images = ann.load_dataset("mnist").test_images[:1000].reshape(1000, 784)
    found, expected = computed(page(network), images), network.apply(images)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))


@pytest.mark.parametrize("activation", [*ACTIVATIONS, *OWN])
@pytest.mark.parametrize("committee", [1, 3])
def test_every_activation(monkeypatch, page, activation, committee, rng):
    if activation in OWN:
        monkeypatch.setitem(ACTIVATIONS, activation, Activation(activation, OWN[activation], none))
    images = rng.integers(0, 256, (50, 25), dtype=np.uint8)
    hidden = activation if activation != "softmax" else "tanh"
    output = activation if activation in ("softmax", "identity") else "sigmoid"
    layers = network_of(ann.get_backend("cpu"), 25, 9, 7, 4, activation=hidden).layer_list
    layers[-1]["activation"] = output
    net = ann.NeuralNetwork(layers, "quadratic", committee=committee)
    net.parameters *= 3
    np.testing.assert_allclose(computed(page(net), images), net.apply(images), rtol=1e-4, atol=1e-5)


def conv(filters, kernel, activation, **options):
    layer = {"type": "conv2d", "filters": filters, "kernel": kernel, "activation": activation}
    return layer | options


@pytest.mark.parametrize(
    "hidden",
    [
        [conv(3, 4, "tanh", padding="same")],
        [conv(3, 3, "relu", stride=2), conv(4, 4, "softmax", stride=3, padding="same")],
        [conv(2, 5, "leaky-relu", stride=4)],
        [{"type": "average_pool2d", "size": 3}, conv(5, 2, "gelu"), conv(3, 1, "sigmoid")],
        [conv(4, 1, "identity"), {"type": "max_pool2d", "size": 4}],
    ],
    ids=["same", "stride", "gaps", "average", "max"],
)
@pytest.mark.parametrize("committee", [1, 3])
def test_layers_for_pictures(page, hidden, committee, rng):
    layers = [hidden[0] | {"input_shape": [12, 12]}, *hidden[1:]]
    layers.append({"output_dim": 4, "activation": "softmax"})
    net = ann.NeuralNetwork(layers, committee=committee)
    net.parameters[...] = rng.normal(0, 0.5, net.parameters.shape)
    images = rng.integers(0, 256, (50, 144), dtype=np.uint8)
    np.testing.assert_allclose(computed(page(net), images), net.apply(images), rtol=1e-4, atol=1e-5)


def test_feature_maps_while_drawing(page, convolutional):
    """Each filter of each convolution has a canvas, which is empty until something is drawn."""
    browser = page(convolutional)
    sizes = """
        return Array.from(document.querySelectorAll(".layer"), layer => [layer.innerText.trim(),
            Array.from(layer.querySelectorAll("canvas"),
                       canvas => [canvas.width, canvas.height])])"""
    assert browser.execute_script(sizes) == [
        ["Layer 1: 8 relu filters, and where each responds", [[24, 24]] * 8],
        ["Layer 3: 16 relu filters, and where each responds", [[10, 10]] * 16],
        ["Layer 5: 32 relu neurons", [[8, 4]]],
        ["Outputs: 10 softmax neurons", [[6, 2]]],
    ]
    opacity = """
        return Array.from(document.querySelectorAll(".conv2d canvas"), canvas => {
            const {width, height} = canvas;
            const copy = new OffscreenCanvas(width, height).getContext("2d");
            copy.drawImage(canvas, 0, 0);
            const values = Array.from(copy.getImageData(0, 0, width, height).data);
            return values.filter((_, i) => i % 4 === 3);
        })"""
    assert not any(map(any, browser.execute_script(opacity)))
    draw(browser, DIGITS["3"])
    assert answer(browser) == "It is 3"
    pixels = np.array(browser.execute_script("return Array.from(see(strokes))"), np.uint8)
    expected = feature_maps(convolutional, pixels)
    found = browser.execute_script(opacity)
    for maps in expected:
        shown = np.array([found.pop(0) for _ in maps]).reshape(maps.shape)
        np.testing.assert_allclose(shown / 255, maps / maps.max(), atol=0.003)
    browser.find_element("id", "clear").click()
    frame(browser)
    assert not any(map(any, browser.execute_script(opacity)))
    if folder := os.environ.get("ANN_PICTURES"):
        wide(browser, height=1150)
        draw(browser, DIGITS["2"])
        browser.find_element("class name", "inside").screenshot(f"{folder}/feature_maps.png")


@pytest.mark.parametrize("kind", ["mouse", "touch"])
@pytest.mark.parametrize("digit", DIGITS)
def test_a_drawn_digit(page, network, digit, kind):
    browser = page(network)
    assert answer(browser) == ""
    draw(browser, DIGITS[digit], kind)
    assert answer(browser) == f"It is {digit}"
    best = browser.find_element("css selector", ".class.best")
    assert best.find_element("class name", "name").text == digit
    assert re.fullmatch(r"\d+ %", best.find_element("class name", "share").text)


ZIGZAG = [[(40 + 40 * step, 60 if step % 2 else 220) for step in range(6)]]
SPIRAL = [
    arc(140, 140, size, size, 90 * turn, 90 * turn + 90)
    for turn, size in enumerate(range(20, 116, 8))
]
LETTERS = {
    "A": [[(60, 230), (140, 50), (220, 230)], [(95, 160), (185, 160)]],
    "K": [[(80, 50), (80, 230)], [(190, 50), (85, 140), (195, 230)]],
    "X": [[(60, 50), (220, 230)], [(220, 50), (60, 230)]],
    "N": [[(70, 230), (70, 50), (200, 230), (200, 50)]],
}


@pytest.mark.parametrize("drawing", [ZIGZAG, SPIRAL, *LETTERS.values()])
def test_drawings_other_than_digits_are_refused(page, network, drawing):
    browser = page(network)
    draw(browser, drawing)
    assert answer(browser) == "Not sure: this does not look like a digit"
    assert not browser.find_elements("class name", "best")


def test_hardly_any_real_digit_is_refused(page, network):
    """At most 2 %, and the page refuses the same ones as Python."""
    images = ann.load_dataset("mnist").test_images
    refused = ann.load_model(DIGIT_CHECK).predict(images) == 1
    assert 0 < refused.mean() <= 0.02
    chosen = np.concatenate([np.flatnonzero(refused)[:50], np.flatnonzero(~refused)[:50]])
    found = computed(page(network), images[chosen].reshape(-1, 784), "isStrange")
    np.testing.assert_array_equal(found, refused[chosen])


@pytest.mark.parametrize("factor", [0.3, 1.2])
@pytest.mark.parametrize("shift", [-40, 40])
def test_digits_of_any_size_and_position(page, network, factor, shift):
    browser = page(network)
    strokes = [
        [((x - 140) * factor + 140 + shift, (y - 140) * factor + 140) for x, y in line]
        for line in DIGITS["3"]
    ]
    draw(browser, strokes)
    assert answer(browser) == "It is 3"


def centre(image, axis):
    """The centre of mass, in pixels."""
    return (image.sum(axis=1 - axis) * np.arange(28)).sum() / image.sum()


def test_the_page_prepares_drawings_like_mnist(page, network):
    """20 pixels long, centred by mass, with strokes as wide as in the training images."""
    browser = page(network)
    images = ann.load_dataset("mnist").train_images[:1000].astype(float)
    for factor in (0.4, 1.0):
        for digit in ("0", "2", "3", "7"):
            strokes = [
                [[(x - 140) * factor + 100, (y - 140) * factor + 170] for x, y in line]
                for line in DIGITS[digit]
            ]
            seen = np.array(
                browser.execute_script("return Array.from(see(arguments[0]))", strokes)
            ).reshape(28, 28)
            rows, columns = (np.flatnonzero(seen.sum(axis=axis)) for axis in (1, 0))
            assert max(np.ptp(rows), np.ptp(columns)) + 1 in (20, 21)
            for axis in (0, 1):
                assert centre(seen, axis) == pytest.approx(
                    centre(images.mean(axis=0), axis), abs=0.15
                )
    # as much ink as the average training image
    assert 0.6 < (seen / 255).sum() / (images / 255).sum(axis=(1, 2)).mean() < 1.4


def test_the_keyboard(page, network):
    from selenium.webdriver.common.keys import Keys

    browser = page(network)
    pad = browser.find_element("id", "pad")
    pad.send_keys(Keys.SPACE, *[Keys.ARROW_DOWN] * 10, Keys.SPACE)
    assert answer(browser) == "It is 1"
    pad.send_keys(Keys.BACKSPACE)
    assert answer(browser) == ""
    pad.send_keys(Keys.SPACE, Keys.SHIFT + Keys.ARROW_RIGHT + Keys.SHIFT)
    pad.send_keys(Keys.SPACE, Keys.ESCAPE)
    assert answer(browser) == ""
    focus = browser.execute_script(
        "document.getElementById('clear').focus(); return document.activeElement.id"
    )
    assert focus == "clear"


def test_the_buttons(page, network):
    browser = page(network)
    draw(browser, [*DIGITS["1"], *DIGITS["0"]])
    browser.find_element("id", "undo").click()
    assert answer(browser) == "It is 1"
    browser.find_element("id", "clear").click()
    assert answer(browser) == ""
    assert {share.text for share in browser.find_elements("class name", "share")} == {""}


def test_not_sure(page, network):
    browser = page(network)
    draw(browser, [[(140, 140)]])
    assert answer(browser) == "Not sure: the drawing is too small"
    judge = "return judge(arguments[0], [[[0, 0], [100, 100]]]).text"
    for values, text in [
        ([0.9, 0.8, 0.0], "Not sure: 0 or 1"),
        ([0.9, 0.6, 0.0], "It is 0"),
        ([0.6, 0.45, 0.0], "Not sure: 0 or 1"),
        ([0.1, 0.4, 0.2], "Not sure: it looks like none of these; the closest is 1"),
        ([0.1, 0.2, 0.7], "It is 2"),
    ]:
        assert browser.execute_script(judge, values) == text


def test_names_that_would_end_the_script(page):
    net = network_of(ann.get_backend("cpu"), 16, 2, output="softmax")
    browser = page(net, ("</script><script>alert(1)</script>", "<b>&amp;\u2028"))
    names = [name.text for name in browser.find_elements("class name", "name")]
    assert names == ["</script><script>alert(1)</script>", "<b>&amp;"]


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone(page, network, dark, tmp_path):
    browser = page(network)
    wide(browser, 360, 740, mobile=True, dark=dark)
    draw(browser, DIGITS["2"], "touch")
    assert answer(browser) == "It is 2"
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    bottom = browser.execute_script(
        "return document.getElementById('answer').getBoundingClientRect().bottom"
    )
    assert bottom < 740  # it is seen without scrolling
    colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", colour)[:3])) < 60) == dark
    if folder := os.environ.get("ANN_PICTURES"):
        browser.save_screenshot(f"{folder}/phone{'-dark' * dark}.png")


def test_a_picture_for_the_readme(page, network):
    browser = page(network)
    wide(browser, height=780)
    draw(browser, DIGITS["3"])
    picture = browser.get_screenshot_as_png()
    assert picture[:4] == b"\x89PNG"
    if folder := os.environ.get("ANN_PICTURES"):
        with open(f"{folder}/page.png", "wb") as file:
            file.write(picture)


def test_on_the_command_line(tmp_path, small_data):
    run("train", "--data", small_data, *FAST, cwd=tmp_path)
    out, _ = run("export", "--to", "page.html", cwd=tmp_path)
    assert f"saved {tmp_path / 'page.html'}, 0.0" in out
    text = (tmp_path / "page.html").read_text()
    assert (
        text.startswith("<!DOCTYPE html>")
        and "{{" not in text
        and "http:" not in text
        and "https:" not in text
    )
    run("export", "--to", "page.html", "--data", small_data, cwd=tmp_path)
    data, network = ann.load_dataset(small_data), ann.load_model(tmp_path / "mnist_ann.pickle")
    accuracy = (network.predict(data.test_images) == data.test_labels).mean()
    expected = f"mnist_ann, accuracy {100 * accuracy:.2f} % on {len(data.test_labels)} test images"
    assert expected in (tmp_path / "page.html").read_text()
    run(
        "export",
        "--to",
        "clothes.html",
        "--classes",
        "fashion-mnist",
        "mnist_ann.pickle",
        cwd=tmp_path,
    )
    assert '"sneaker"' in (tmp_path / "clothes.html").read_text()
    for words, code, message in [
        (
            ["--to", "page.doc"],
            2,
            "expected a name that ends in .html, .npz, .safetensors, .onnx, got 'page.doc'",
        ),
        ([], 2, "--to FILE is required: it names the file to write"),
        (["--to", "a.npz", "--data", small_data], 2, "--data is for a web page: leave it out"),
        (["--to", "a.npz", "--classes", "mnist"], 2, "--classes is for a web page: leave it out"),
        (["--to", "page.html", "--data", "absent"], 1, "absent: no such data file or folder"),
        (["--to", "page.html", "absent"], 1, "absent: no such model file"),
        (["--to", "no/page.html"], 1, "no/page.html: There is no folder"),
    ]:
        assert message in run("export", *words, cwd=tmp_path, code=code)[1]


def test_the_classroom_s_page_is_small():
    recipe = ann.Recipe()
    assert len(web_page(ann.NeuralNetwork(recipe.layer_list(784, 10)))) < 1_000_000


def test_networks_that_cannot_be_pages(monkeypatch):
    backend = ann.get_backend("cpu")
    with pytest.raises(
        ValueError, match="a page needs a network for square images, and this one takes 15 pixels"
    ):
        web_page(network_of(backend, 15, 2))
    for shape, found in (([4, 14, 14], "4x14x14"), ([16, 49], "16x49")):
        layers = [conv(2, 3, "relu", input_shape=shape), {"output_dim": 2, "activation": "softmax"}]
        with pytest.raises(ValueError, match=f"square images, and this one takes {found} pixels"):
            web_page(ann.NeuralNetwork(layers))
    whole = {"'astype to int32'": lambda xp, z: z - xp.astype(xp.astype(z, xp.int32), z.dtype)}
    for reason, function in (UNTRANSLATABLE | whole).items():
        monkeypatch.setitem(ACTIVATIONS, "own", Activation("own", function, none))
        net = network_of(backend, 16, 4, 2, activation="own")
        with pytest.raises(
            ValueError, match=f"the activation 'own' cannot be exported to JavaScript: .*{reason}"
        ):
            web_page(net)


PRESS = """
    const [kind, id, x, y] = arguments, pad = document.getElementById("pad");
    const box = pad.getBoundingClientRect();
    pad.setPointerCapture = () => {};
    pad.dispatchEvent(new PointerEvent(kind, {
        pointerId: id, button: 0, bubbles: true,
        clientX: box.left + x * box.width / 280, clientY: box.top + y * box.height / 280}));"""


def press(browser, kind, x, y, number=1):
    """The events of a finger with this number."""
    browser.execute_script(PRESS, f"pointer{kind}", number, x, y)


def strokes(browser):
    return browser.execute_script("return strokes")


def test_a_second_finger_or_the_palm_changes_nothing(page, network):
    browser = page(network)
    press(browser, "down", 140, 50)
    press(browser, "down", 20, 250, number=2)
    for step in range(1, 19):
        press(browser, "move", 140, 50 + 10 * step)
        press(browser, "move", 20 + step, 250, number=2)
    press(browser, "up", 38, 250, number=2)
    press(browser, "move", 140, 235)
    press(browser, "up", 140, 235)
    (line,) = strokes(browser)
    assert len(line) == 20 and all(abs(x - 140) < 1 for x, _ in line)
    assert answer(browser) == "It is 1"
    press(browser, "down", 20, 20, number=3)
    press(browser, "cancel", 20, 20, number=3)
    press(browser, "move", 60, 60, number=3)
    assert len(strokes(browser)) == 2 and len(strokes(browser)[1]) == 1


def test_keys_in_the_middle_of_a_stroke_change_nothing(page, network):
    from selenium.webdriver.common.keys import Keys

    browser = page(network)
    pad = browser.find_element("id", "pad")
    press(browser, "down", 140, 50)
    press(browser, "move", 140, 100)
    pad.send_keys(Keys.SHIFT, "x", Keys.ARROW_LEFT, " ", Keys.ESCAPE)
    press(browser, "move", 140, 230)
    press(browser, "up", 140, 230)
    assert len(strokes(browser)) == 1 and len(strokes(browser)[0]) == 3
    pad.send_keys("x", Keys.SHIFT, Keys.ARROW_RIGHT)  # the pen of the keyboard is up
    assert len(strokes(browser)) == 1


def test_strokes_end_at_the_frame(page, network):
    browser = page(network)
    press(browser, "down", 140, 140)
    press(browser, "move", 900, 140)
    press(browser, "move", 140, -300)
    press(browser, "up", 140, 140)
    (line,) = strokes(browser)
    assert [[round(value) for value in point] for point in line] == [
        [140, 140],
        [280, 140],
        [140, 0],
    ]


def test_the_page_of_a_committee(page, network):
    layers = network_of(ann.get_backend("cpu"), 784, 12, 10).layer_list
    browser = page(ann.NeuralNetwork(layers, committee=3))
    assert f"{3 * (785 * 12 + 13 * 10):,} parameters" in browser.find_element("id", "what").text
    captions = [one.text for one in browser.find_elements("css selector", ".layer figcaption")]
    assert captions == [
        "Layer 1 of the first network: 12 sigmoid neurons",
        "Outputs of the first network: 10 sigmoid neurons",
    ]


def test_a_page_of_one_output():
    with pytest.raises(ValueError, match="a page needs a network with several classes"):
        web_page(network_of(ann.get_backend("cpu"), 784, 1))


def test_classes_of_any_name():
    page = web_page(network_of(ann.get_backend("cpu"), 4, 2), ["{{weights}}", "</script>"])
    assert '</script>"' not in page and '"{{weights}}"' in page
