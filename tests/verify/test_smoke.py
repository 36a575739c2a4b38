def test_it(make_bundle, rnn_model, quaternion_model):
    from qdeploy.verify import verify

    for m in (rnn_model(), rnn_model(bits=12), rnn_model(steps=True), quaternion_model()):
        r = verify(make_bundle(m), samples=40)
        print("\n".join(r.lines()))
        assert r.passed
